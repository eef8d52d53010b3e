"""Where questions with candidates come from: readers and makers of the data sets."""
