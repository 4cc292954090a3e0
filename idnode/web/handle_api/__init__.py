"""The Handle HTTP JSON API with its administration (Handle.Net technical manual, chapter 14): docs/idnode.md."""
