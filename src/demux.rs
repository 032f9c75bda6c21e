//! Which protocol a datagram on a media port carries (RFC 7983, RFC 5761; MEAS 2.1).
