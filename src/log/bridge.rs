//! What the parts of the agent say by `tracing` becomes lines of the application log.
//!
//! The component is the module (`http` of `sidetone::http::answer`); what the span of a request knows of it, its
//! identifier, goes with each line. Other crates are not listened to.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::privacy::Personal;
use super::{Level, Line, Logs, Stream};
use crate::Stamp;

/// Listens from now on, to all threads. Once in the life of a process; a second time nothing happens.
pub fn listen(logs: Logs, clock: fn() -> Stamp) {
    let subscriber = tracing_subscriber::registry().with(Bridge { logs, clock });
    // Somebody else may listen already: a test.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Bridge {
    logs: Logs,
    clock: fn() -> Stamp,
}

/// What the span of a request knows.
struct RequestId(String);

impl Bridge {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        component(metadata)
            .is_some_and(|component| self.logs.wants(Stream::Application, level(metadata), component))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Bridge {
    /// What is wanted may change with a reload, so that it is asked each time.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if component(metadata).is_some() { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_span() || self.wants(metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(request)) = (context.span(id), fields.text_of("request_id")) {
            span.extensions_mut().insert(RequestId(request.to_owned()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let Some(component) = component(metadata).filter(|_| self.wants(metadata)) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.text_of("message").unwrap_or_default().to_owned();
        let (at, cause) = (self.logs.now((self.clock)()), metadata.name());
        let message = Personal::text(&message);
        let mut line = Line::saying(Stream::Application, level(metadata), at, component, cause, message);
        let mut request = None;
        for (key, value) in &fields.0 {
            match value {
                Value::Text(text) if *key == "request_id" => request = Some(text.clone()),
                Value::Text(text) if *key != "message" => drop(line.personal(key, Personal::text(text))),
                Value::Text(_) => {}
                Value::Count(count) => drop(line.count(key, *count)),
                Value::Number(number) => drop(line.number(key, Some(*number))),
                Value::Flag(flag) => drop(line.flag(key, *flag)),
            }
        }
        let of_span = || {
            let mut spans = context.event_scope(event).into_iter().flatten();
            spans.find_map(|span| span.extensions().get::<RequestId>().map(|request| request.0.clone()))
        };
        self.logs.tell(match request.or_else(of_span) {
            Some(request) => line.requested(&request),
            None => line.traced(None),
        });
    }
}

fn component(metadata: &Metadata<'_>) -> Option<&'static str> {
    // The target of a macro is the path of its module, a constant; its lifetime is lost on the way.
    let mut path = metadata.target().split("::");
    let is_ours = path.next() == Some(env!("CARGO_PKG_NAME"));
    let module = path.next().filter(|_| is_ours)?;
    COMPONENTS.into_iter().find(|known| *known == module).or(Some("agent"))
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

enum Value {
    Text(String),
    Count(u64),
    Number(f64),
    Flag(bool),
}

impl Fields {
    fn text_of(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|(name, value)| match value {
            Value::Text(text) if *name == key => Some(text.as_str()),
            _ => None,
        })
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.0.push((field.name(), Value::Text(text)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), Value::Text(value.to_owned())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), Value::Count(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), Value::Number(value as f64)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), Value::Number(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), Value::Flag(value)));
    }
}

/// Modules that speak.
const COMPONENTS: [&str; 5] = ["agent", "capture", "export", "http", "log"];
