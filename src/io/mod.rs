//! The kernel: our own small io_uring, epoll as its fallback, sockets and buffers. The only `unsafe`.
