"""The control layer's own database: runs, steps, leases, machines, allocations, receipts."""
