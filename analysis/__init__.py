"""What reads a root: queries, the report, the review queue, status and verify. No Beam, no TensorFlow.

Read `tables` first, which gathers what the report shows, then `report/` (a file per section). `query` runs SQL, `queue`
and `label_errors` rank images for review, `exports/` writes the queue for review tools (a file each), `status` and
`verify/` check a root, and `table_docs` generates the page of all tables.
"""
