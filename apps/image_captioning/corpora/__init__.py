"""The data sets of image captioning: readers, the maker of the emoji, the words of captions."""
