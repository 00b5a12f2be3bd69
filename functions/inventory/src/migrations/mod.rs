//! Numbered data migrations of this service's own table. There are none: every row on record has
//! the shape that `store` writes.
