"""What a run gives: the record, its metrics, and tables and plots of many records."""
