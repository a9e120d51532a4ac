"""What ``manage.py`` can do with pgqueue."""
