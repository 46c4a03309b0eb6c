"""Whether intervals beyond the data cover what really happens, and how narrow they are."""
