//! Key to bucket or ring point to backend: health, retries, pipelines, without I/O.
