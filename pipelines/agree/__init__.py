"""How much label sets agree: `transforms` pairs and counts each shard, `tables` writes the tables of all shards."""
