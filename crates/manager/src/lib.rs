//! Drives the manager's state machine over a store and node connections; HTTP API.
