"""OPC UA client. `settings`, `plan` and `sequence` import no protocol library; the others stand on asyncua."""
