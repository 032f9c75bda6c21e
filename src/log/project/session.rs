//! What the sides of a call told each other about media.

use super::Tell;
use crate::event::{Described, Role};
use crate::export::trace_id::TraceId;
use crate::log::privacy::Personal;
use crate::log::{Level, Stream};
use crate::sip::sdp::{Direction, Kind};
use crate::wire::Endpoint;

/// One line for each section that is described.
pub(super) fn described(tell: Tell<'_>, described: &Described<'_>) {
    let message = match described.role {
        Role::Offer => "sdp offered",
        Role::Answer => "sdp answered",
    };
    for (section, media) in described.session.media.iter().enumerate() {
        let kind = (Stream::Diagnostics, Level::Info, KIND);
        tell.line(kind, message, Some(described.call_id), |mut line| {
            line.word("by", if described.by_caller { "caller" } else { "callee" })
                .time("at", described.stamp);
            line.count("section", section as u64).word(
                "media",
                match media.kind {
                    Kind::Audio => "audio",
                    Kind::Video => "video",
                    Kind::Image => "image",
                    Kind::Other => "other",
                },
            );
            if let Some(ip) = media.address {
                line.personal("address", Personal::endpoint(Endpoint { ip, port: media.port }));
            }
            line.flag("refused", media.port == 0).flag("secure", media.secure);
            line.word(
                "direction",
                match media.direction {
                    Direction::SendRecv => "sendrecv",
                    Direction::SendOnly => "sendonly",
                    Direction::RecvOnly => "recvonly",
                    Direction::Inactive => "inactive",
                },
            );
            let codecs: Vec<_> = media.formats.iter().map(|format| format.codec.name()).collect();
            line.json("codecs", &codecs);
            if let Some(ptime) = media.ptime_ms {
                line.number("ptime", Some(f64::from(ptime) / 1000.0));
            }
            line.traced(Some(TraceId::of_call_id(described.call_id)))
        });
    }
}

/// The component of these lines.
pub(super) const KIND: &str = "sdp";
