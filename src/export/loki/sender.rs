//! The thread that empties the spool.
//!
//! A request that may still succeed is made again, after a pause of random length up to a bound that doubles each time
//! (full jitter), or after what the server asks for. What the server will never take is given up and counted. A
//! password or token that is refused is read anew and tried again: lines are not lost because one has expired.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "pauses between requests are no packet time")]
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};

use super::outlet::{FAILURES, REFUSALS, Sent};
use super::push::Request;
use super::spool::{Batch, Spool};
use super::{Error, Settings};
use crate::Stamp;
use crate::client::{Answer, Client, Failure};
use crate::random::Random;

/// Sends what is in the spool.
#[derive(Debug)]
pub struct Sender {
    settings: Settings,
    client: Client,
    login: Option<HeaderValue>,
    spool: Arc<Spool>,
    sent: Arc<Sent>,
    random: Random,
    /// Failures since the last success.
    failed: u32,
    /// Lines of a request at most, while the server finds requests too large.
    most_lines: usize,
    /// When everything has to be over; `None` until it is told to stop.
    end: Option<Moment>,
}

#[allow(clippy::disallowed_types, reason = "see the import")]
type Moment = Instant;

/// What to do after an answer, or without one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Taken,
    /// Made again after this many seconds at least.
    Again {
        failure: &'static str,
        after: Option<f64>,
    },
    TooLarge,
    Never {
        reason: &'static str,
    },
}

/// How the agent says who it is, from the files as they are now.
pub(super) fn login(settings: &Settings) -> Result<Option<HeaderValue>, Error> {
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file);
        text.map(|text| text.trim().to_owned()).map_err(|source| Error::Login { file: file.clone(), source })
    };
    let (file, text) = match (&settings.bearer_file, &settings.user, &settings.password_file) {
        (Some(file), ..) => (file, format!("Bearer {}", read(file)?)),
        (None, Some(user), Some(file)) => {
            let pair = format!("{user}:{}", read(file)?);
            (file, format!("Basic {}", BASE64_STANDARD.encode(pair)))
        }
        _ => return Ok(None),
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|error| Error::Login { file: file.clone(), source: io::Error::other(error) })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl Sender {
    pub(super) fn new(
        settings: Settings,
        client: Client,
        login: Option<HeaderValue>,
        spool: Arc<Spool>,
        sent: Arc<Sent>,
    ) -> Self {
        let random =
            Random::new(settings.seed.unwrap_or_else(|| stamp().0 ^ u64::from(std::process::id())), 0);
        let most_lines = settings.batch_lines;
        Self { settings, client, login, spool, sent, random, failed: 0, most_lines, end: None }
    }

    /// Sends until it is told to stop, and then what is left, as long as the settings allow. What is left after that
    /// stays in the spool.
    pub fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        while !self.is_over(stop) {
            let waiting = self.spool.wait(if self.end.is_some() { Duration::ZERO } else { LOOK_UP });
            if waiting.lines == 0 {
                if self.end.is_some() {
                    break;
                }
                continue;
            }
            self.gather(stop);
            let Some(batch) = self.spool.take(self.settings.batch_bytes, self.most_lines) else { continue };
            let verdict = match runtime.block_on(self.push(&batch)) {
                Ok(answer) => judge(&answer),
                Err(failure) => {
                    self.trouble(failure.to_string());
                    Verdict::Again { failure: name(&failure), after: None }
                }
            };
            if self.conclude(verdict, &batch) {
                // At the end nobody waits for a server that is away.
                if self.end.is_some() {
                    break;
                }
                self.rest(verdict, stop);
            }
        }
        Ok(())
    }

    /// Lines that come together go together.
    fn gather(&self, stop: &AtomicBool) {
        let until = now() + self.settings.batch_wait;
        let is_full = || {
            let waiting = self.spool.waiting();
            waiting.bytes >= self.settings.batch_bytes as u64 || waiting.lines >= self.most_lines as u64
        };
        while self.failed == 0 && !stop.load(Ordering::Acquire) && !is_full() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(LOOK_UP));
        }
    }

    async fn push(&mut self, batch: &Batch) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        // What Loki's own clients say; it takes nothing else of this type.
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sidetone/", env!("CARGO_PKG_VERSION"))));
        if let Some(tenant) = &self.settings.tenant
            && let Ok(tenant) = HeaderValue::from_str(tenant)
        {
            headers.insert("x-scope-orgid", tenant);
        }
        if let Some(login) = &self.login {
            headers.insert(AUTHORIZATION, login.clone());
        }
        let body = Request::of(batch.lines.clone()).compressed().unwrap_or_default();
        let len = body.len() as u64;
        let path = if self.client.target().has_path() { "" } else { PATH };
        let answer = self.client.post(path, &headers, Bytes::from(body)).await?;
        if judge(&answer) == Verdict::Taken {
            add(&self.sent.bytes, len);
        } else {
            self.trouble(format!("it answers {}: {}", answer.status, answer.body));
        }
        Ok(answer)
    }

    /// Returns whether to pause.
    fn conclude(&mut self, verdict: Verdict, batch: &Batch) -> bool {
        let lines = batch.lines.len() as u64;
        match verdict {
            Verdict::Taken => {
                self.spool.done(batch);
                add(&self.sent.lines, lines);
                add(&self.sent.requests, 1);
                self.failed = 0;
                self.most_lines = (self.most_lines * 2).min(self.settings.batch_lines);
                if self.sent.is_down.swap(false, Ordering::Relaxed) {
                    *self.sent.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    tracing::info!(to = %self.client.target(), "Loki takes lines again");
                }
                return false;
            }
            Verdict::TooLarge if lines > 1 => {
                self.most_lines = batch.lines.len() / 2;
                return false;
            }
            Verdict::TooLarge => self.give_up("413", batch),
            Verdict::Never { reason } => self.give_up(reason, batch),
            Verdict::Again { failure, .. } => {
                count(&FAILURES, &self.sent.failures, failure, 1);
                if failure == "login" {
                    // It may have been changed; if it cannot be read just now, the old one is tried again.
                    self.login = login(&self.settings).unwrap_or(self.login.take());
                }
                self.failed = self.failed.saturating_add(1);
                return true;
            }
        }
        false
    }

    fn give_up(&mut self, reason: &'static str, batch: &Batch) {
        count(&REFUSALS, &self.sent.refused, reason, batch.lines.len() as u64);
        self.spool.done(batch);
        self.failed = 0;
    }

    /// Told once, until it is over.
    fn trouble(&self, why: String) {
        if !self.sent.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(to = %self.client.target(), %why, "Loki takes no lines; they are kept as far as the spool goes");
        }
        *self.sent.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn rest(&mut self, verdict: Verdict, stop: &AtomicBool) {
        let pause = self.pause(verdict);
        let until = now() + pause;
        while now() < until && !stop.load(Ordering::Acquire) {
            thread::sleep(LOOK_UP.min(until.saturating_duration_since(now())));
        }
    }

    fn pause(&mut self, verdict: Verdict) -> Duration {
        let Settings { first_pause, longest_pause, .. } = self.settings;
        let doublings = self.failed.saturating_sub(1).min(MOST_DOUBLINGS);
        let bound = first_pause.saturating_mul(1 << doublings).min(longest_pause);
        let asked = match verdict {
            Verdict::Again { after: Some(seconds), .. } => {
                Duration::from_secs_f64(seconds.clamp(0.0, MOST_ASKED))
            }
            _ => Duration::ZERO,
        };
        // After what the server asks for, so that not all agents return at the same moment.
        asked + bound.mul_f64(self.random.unit())
    }

    fn is_over(&mut self, stop: &AtomicBool) -> bool {
        if self.end.is_none() && stop.load(Ordering::Acquire) {
            self.end = Some(now() + self.settings.drain);
        }
        self.end.is_some_and(|end| now() >= end)
    }
}

fn judge(answer: &Answer) -> Verdict {
    let after = answer.retry_after.map(|after| after.seconds(stamp()));
    let again = |failure| Verdict::Again { failure, after };
    match answer.status {
        200..=299 => Verdict::Taken,
        408 | 425 | 429 => again("busy"),
        // Nothing is wrong with the lines; the way to the server is, and may be put right.
        401 | 403 | 407 => again("login"),
        300..=399 | 404 | 405 => again("server"),
        400 => Verdict::Never { reason: "400" },
        413 => Verdict::TooLarge,
        422 => Verdict::Never { reason: "422" },
        402..=499 => Verdict::Never { reason: "other" },
        _ => again("server"),
    }
}

fn name(failure: &Failure) -> &'static str {
    match failure {
        Failure::Connect(_) => "connect",
        Failure::Broken(_) | Failure::Request(_) => "broken",
        Failure::Timeout(_) => "timeout",
    }
}

fn count<const N: usize>(
    names: &[&str; N],
    counters: &[std::sync::atomic::AtomicU64; N],
    name: &str,
    more: u64,
) {
    if let Some((_, counter)) = names.iter().zip(counters).find(|(known, _)| **known == name) {
        add(counter, more);
    }
}

fn add(counter: &std::sync::atomic::AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

#[allow(clippy::disallowed_types, reason = "see the import")]
fn now() -> Moment {
    Instant::now()
}

/// A date in `Retry-After` is compared with it.
#[allow(clippy::disallowed_types, reason = "see the import")]
fn stamp() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(Stamp(0), |since| Stamp(since.as_nanos() as u64))
}

/// Where Loki takes lines; a URL with a path of its own stands for all of it.
const PATH: &str = "/loki/api/v1/push";
/// Longest wait before the thread looks whether it shall stop.
const LOOK_UP: Duration = Duration::from_millis(50);
const MOST_DOUBLINGS: u32 = 20;
/// Who asks for more than ten minutes is asked again all the same.
const MOST_ASKED: f64 = 600.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer { status, retry_after: None, body: String::new() }
    }

    #[test]
    fn what_can_succeed_is_made_again_and_nothing_else() {
        assert_eq!(judge(&answer(204)), Verdict::Taken);
        for (status, failure) in
            [(429, "busy"), (401, "login"), (503, "server"), (500, "server"), (302, "server")]
        {
            assert_eq!(judge(&answer(status)), Verdict::Again { failure, after: None }, "{status}");
        }
        for (status, reason) in [(400, "400"), (422, "422"), (415, "other")] {
            assert_eq!(judge(&answer(status)), Verdict::Never { reason });
        }
        assert_eq!(judge(&answer(413)), Verdict::TooLarge);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(BASE64_STANDARD.encode(plain), encoded);
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_never_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            url: Some("http://127.0.0.1:9".parse().unwrap()),
            seed: Some(3),
            ..Settings::default()
        };
        let (_, mut sender) =
            super::super::open(settings, directory.path().to_owned(), "h").unwrap().unwrap();
        let again = |after| Verdict::Again { failure: "server", after };
        let mut pauses = Vec::new();
        for failed in 1..200 {
            sender.failed = failed;
            let pause = sender.pause(again(None));
            let bound = Duration::from_millis(500 << (failed - 1).min(10)).min(Duration::from_mins(1));
            assert!(pause <= bound, "{failed}: {pause:?}");
            pauses.push(pause);
        }
        assert!(pauses.iter().max() > Some(&Duration::from_secs(50)));
        sender.failed = 1;
        let asked = sender.pause(again(Some(7.0)));
        assert!((7.0..7.5).contains(&asked.as_secs_f64()), "{asked:?}");
    }
}
