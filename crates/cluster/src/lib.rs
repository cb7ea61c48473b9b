//! The map, the ownership state machines of node and manager, placement.
