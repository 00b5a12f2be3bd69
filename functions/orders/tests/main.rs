//! Every test of this service.
