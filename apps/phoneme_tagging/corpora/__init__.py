"""Readers and makers of speech with phones and their times."""
