//! One thread, one ring: carries out what its sessions ask for.
