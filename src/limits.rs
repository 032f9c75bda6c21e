//! The bounds of every table and buffer. What they refuse or evict is counted by the owner of the table.

/// Upper bounds of the observer's state. Each is a number of entries unless its name says bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Live calls.
    pub calls: usize,
    /// Open SIP transactions.
    pub transactions: usize,
    /// Open registration attempts and remembered bindings.
    pub registrations: usize,
    /// Live RTP streams.
    pub streams: usize,
    /// Media endpoints learned from SDP.
    pub endpoints: usize,
    /// RTP candidates on probation (MEAS 6.7).
    pub candidates: usize,
    /// IP datagrams being reassembled.
    pub fragments: usize,
    /// Bytes held for IP reassembly.
    pub fragment_bytes: usize,
    /// TCP connections (each direction) followed.
    pub tcp_flows: usize,
    /// Bytes held out of order or unframed for one TCP direction.
    pub tcp_flow_bytes: usize,
    /// Bytes held for all TCP directions together.
    pub tcp_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 200_000,
            transactions: 400_000,
            registrations: 200_000,
            streams: 400_000,
            endpoints: 400_000,
            candidates: 16_384,
            fragments: 4_096,
            fragment_bytes: 16 << 20,
            tcp_flows: 65_536,
            tcp_flow_bytes: 256 << 10,
            tcp_bytes: 32 << 20,
        }
    }
}
