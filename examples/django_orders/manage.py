"""Django: `manage.py migrate`, `manage.py pgqueue_worker`, `manage.py test`."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
execute_from_command_line(sys.argv)
