//! What became of calls.

use super::Tell;
use crate::event::{Call, CallResult, CallState, EndReason, Transfer};
use crate::export::trace_id::TraceId;
use crate::log::privacy::Personal;
use crate::log::{Level, Line, Stream};

pub(super) fn answered(tell: Tell<'_>, call: &Call) {
    tell.line(application(Level::Info), "call answered", Some(&call.call_id), |mut line| {
        parties(&mut line, call);
        line.number("post_dial_delay", call.post_dial_delay).number("setup", call.setup);
        line.flag("challenged", call.challenged);
        line.traced(Some(trace(call)))
    });
}

pub(super) fn over(tell: Tell<'_>, call: &Call) {
    let (level, message) = outcome(call);
    tell.line(application(level), message, Some(&call.call_id), |mut line| {
        parties(&mut line, call);
        if let Some(status) = call.status {
            line.count("status", status.into());
        }
        line.word("result", call.result.map_or("none", CallResult::name));
        if let Some(reason) = call.end_reason {
            line.word("end_reason", reason.name());
        }
        line.number("post_dial_delay", call.post_dial_delay).number("setup", call.setup);
        line.number("duration", call.duration).number("mos", call.mos);
        if let Some(codec) = call.codec {
            line.word("codec", codec.name());
        }
        line.count("streams", call.streams.len() as u64).count("hops", call.hops.into());
        line.count("retransmissions", call.retransmissions.into());
        if call.call_ids.len() > 1 {
            line.list("call_ids", call.call_ids.iter().map(|id| Personal::call_id(id)));
        }
        if !call.participants.is_empty() {
            line.list("participants", call.participants.iter().map(|uri| Personal::uri(uri)));
        }
        line.traced(Some(trace(call)))
    });
    quality(tell, call);
}

/// What those who talked would complain about.
fn quality(tell: Tell<'_>, call: &Call) {
    let warn = |message, fill: &dyn Fn(&mut Line)| {
        tell.line((Stream::Application, Level::Warn, "quality"), message, Some(&call.call_id), |mut line| {
            fill(&mut line);
            line.traced(Some(trace(call)))
        });
    };
    if let Some(missing) = call.one_way {
        warn("one-way audio", &|line| {
            line.word("nothing_heard", missing.name());
        });
    }
    if call.dead_air == Some(true) {
        warn("dead air", &|line| {
            line.number("duration", call.duration);
        });
    }
    let bound = tell.logs.mos_below();
    if let Some(mos) = call.mos.filter(|mos| *mos < bound) {
        warn("bad quality", &|line| {
            line.number("mos", Some(mos)).number("bound", Some(bound));
            if let Some(codec) = call.codec {
                line.word("codec", codec.name());
            }
        });
    }
}

pub(super) fn transfer(tell: Tell<'_>, transfer: &Transfer) {
    let (level, message) = match transfer.status {
        Some(200..=299) => (Level::Info, "call transferred"),
        _ => (Level::Warn, "transfer failed"),
    };
    tell.line(application(level), message, Some(&transfer.call_id), |mut line| {
        line.word("type", if transfer.attended { "attended" } else { "blind" });
        if let Some(status) = transfer.status {
            line.count("status", status.into());
        }
        line.traced(Some(TraceId::of_call_id(&transfer.call_id)))
    });
}

/// What an operator would say. Busy, refused and given up is what people do; not found, unavailable, a fault of a
/// server and silence is where a call did not get through.
fn outcome(call: &Call) -> (Level, &'static str) {
    let up = call.state != CallState::Ended;
    match call.result {
        None => (Level::Info, "call unfinished"),
        Some(CallResult::Answered) if up => (Level::Info, "call unfinished"),
        Some(CallResult::Answered) => match call.end_reason {
            Some(EndReason::Bye | EndReason::Replaced) | None => (Level::Info, "call ended"),
            Some(_) => (Level::Warn, "call ended"),
        },
        Some(CallResult::Redirected) => (Level::Info, "call redirected"),
        Some(CallResult::Cancelled) => (Level::Info, "call cancelled"),
        Some(CallResult::Timeout) => (Level::Warn, "routing failed"),
        Some(CallResult::NoFinal) => (Level::Warn, "call failed"),
        Some(CallResult::AbandonedAuth) => (Level::Info, "call failed"),
        Some(CallResult::Failed) => match call.status {
            Some(404 | 408 | 480 | 500..) => (Level::Warn, "routing failed"),
            Some(486) => (Level::Info, "call failed"),
            _ => (Level::Warn, "call failed"),
        },
    }
}

fn application(level: Level) -> (Stream, Level, &'static str) {
    (Stream::Application, level, "call")
}

fn parties(line: &mut Line, call: &Call) {
    line.personal("from", Personal::uri(&call.from)).personal("to", Personal::uri(&call.to));
    line.personal("source", Personal::endpoint(call.source));
    line.personal("destination", Personal::endpoint(call.destination));
    line.time("start", call.start);
    for (key, name) in [("tenant", &call.tenant), ("route", &call.route)] {
        if let Some(name) = name {
            line.label(key, name);
        }
    }
}

fn trace(call: &Call) -> TraceId {
    let given = call.traceparent.as_deref().and_then(TraceId::of_traceparent);
    given.unwrap_or_else(|| TraceId::of_call_id(&call.call_id))
}
