"""Tables: what columns mean, validated runs, bundled and remote data sets."""
