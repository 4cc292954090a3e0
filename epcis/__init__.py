"""EPCIS 2.0 and the Core Business Vocabulary 2.0: events, documents, checks, names. Opens nothing, imports nothing of ours."""
