//! `google.rpc.RetryInfo` in the details of a gRPC status: how long the collector wants to be left alone (OTLP
//! specification, OTLP/gRPC throttling).

use std::time::Duration;

use prost::Message;

/// What it asks for, if the details of a status have it.
pub(super) fn wait(details: &[u8]) -> Option<Duration> {
    let status = Status::decode(details).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with(RETRY_INFO))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanos.into()))
}

/// `google.rpc.Status`, without its code and message: the trailers of gRPC have them.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const RETRY_INFO: &str = "/google.rpc.RetryInfo";

#[cfg(test)]
mod tests {
    use super::*;

    fn details(name: &str, delay: Delay) -> Vec<u8> {
        let value = RetryInfo { delay: Some(delay) }.encode_to_vec();
        let other = Any { type_url: "type.googleapis.com/google.rpc.DebugInfo".into(), value: vec![1] };
        let info = Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value };
        Status { details: vec![other, info] }.encode_to_vec()
    }

    #[test]
    fn the_delay_is_found_among_other_details() {
        let delay = Delay { seconds: 2, nanos: 500_000_000 };
        assert_eq!(wait(&details("RetryInfo", delay)), Some(Duration::from_millis(2500)));
    }

    #[test]
    fn what_is_none_asks_for_nothing() {
        assert_eq!(wait(b""), None);
        assert_eq!(wait(b"\xff\xff"), None);
        assert_eq!(wait(&details("Help", Delay { seconds: 2, nanos: 0 })), None);
        assert_eq!(wait(&details("RetryInfo", Delay { seconds: -2, nanos: 0 })), None);
    }
}
