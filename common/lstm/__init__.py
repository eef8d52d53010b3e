"""The LSTM layer of all apps, fast on a CPU. Its one public module is `layer`."""
