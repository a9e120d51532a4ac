"""What operators do to queues and messages, and what they want to know of them.

Every statement here is bounded by a time-out, and every count by a cap.
"""
