//! The deployed system over HTTP.
