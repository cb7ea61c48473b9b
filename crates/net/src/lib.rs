//! The epoll loop: connections, buffers, timers.
