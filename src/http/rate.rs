//! How often one client may ask: a token bucket an address, in a table of bounded size.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::time::Instant;

/// Requests a client address may make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many a second in the long run.
    pub per_second: f64,
    /// How many at once after a pause.
    pub burst: f64,
}

/// Where a client sits, as the counters tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// On this machine, by the loopback interface.
    Local,
    /// Anywhere else.
    Remote,
}

impl ClientType {
    /// Of its address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Local } else { Self::Remote }
    }

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// The buckets of all clients.
#[derive(Debug)]
pub(crate) struct Limiter {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    buckets: HashMap<IpAddr, Bucket, RandomState>,
    most: usize,
    /// Shared by those who find the table full: a flood of addresses gets no further than one of them.
    others: Option<Bucket>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limiter {
    pub(crate) fn new(most: usize) -> Self {
        let buckets = HashMap::with_hasher(RandomState::default());
        Self { table: Mutex::new(Table { buckets, most, others: None, swept: None }) }
    }

    /// Takes a token, or says how long it is until there is one.
    pub(crate) fn take(&self, client: IpAddr, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).bucket(client, rate, now).take(rate, now)
    }
}

impl Table {
    fn bucket(&mut self, client: IpAddr, rate: Rate, now: Instant) -> &mut Bucket {
        let key = network(client);
        if !self.buckets.contains_key(&key) && self.buckets.len() >= self.most {
            self.sweep(rate, now);
        }
        let full = Bucket { tokens: rate.burst, at: now };
        if self.buckets.len() >= self.most && !self.buckets.contains_key(&key) {
            return self.others.get_or_insert(full);
        }
        self.buckets.entry(key).or_insert(full)
    }

    /// A bucket that is full again says nothing. Looking for them is for once a second, not for each stranger.
    fn sweep(&mut self, rate: Rate, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| bucket.filled(rate, now) < rate.burst);
    }
}

impl Bucket {
    fn filled(&self, rate: Rate, now: Instant) -> f64 {
        let grown = now.duration_since(self.at).as_secs_f64() * rate.per_second;
        (self.tokens + grown).min(rate.burst)
    }

    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.tokens = self.filled(rate, now);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - self.tokens) / rate.per_second;
        Err(Duration::try_from_secs_f64(seconds).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT)))
    }
}

/// Who has IPv6 has at least a /64 of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

const SWEEP: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3.0 };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn taken(limiter: &Limiter, client: IpAddr, now: Instant) -> usize {
        (0..10).filter(|_| limiter.take(client, RATE, now).is_ok()).count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (limiter, start) = (Limiter::new(4), Instant::now());
        assert_eq!(taken(&limiter, address(1), start), 3);
        assert_eq!(limiter.take(address(1), RATE, start), Err(Duration::from_millis(500)));
        assert_eq!(taken(&limiter, address(1), start + Duration::from_secs(1)), 2);
        assert_eq!(taken(&limiter, address(1), start + Duration::from_mins(1)), 3, "no more than a burst");
    }

    #[test]
    fn clients_do_not_pay_for_each_other() {
        let (limiter, now) = (Limiter::new(4), Instant::now());
        assert_eq!(taken(&limiter, address(1), now), 3);
        assert_eq!(taken(&limiter, address(2), now), 3);
    }

    #[test]
    fn a_full_table_has_one_bucket_for_all_strangers() {
        let (limiter, now) = (Limiter::new(2), Instant::now());
        let taken: usize = (1..=100).map(|last| taken(&limiter, address(last), now)).sum();
        assert_eq!(taken, 3 * 3);
        assert_eq!(limiter.table.lock().unwrap().buckets.len(), 2);
    }

    #[test]
    fn buckets_that_are_full_again_make_room() {
        let (limiter, now) = (Limiter::new(2), Instant::now());
        for last in 1..=3 {
            taken(&limiter, address(last), now);
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(taken(&limiter, address(4), later), 3);
        assert_eq!(limiter.table.lock().unwrap().buckets.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (limiter, now) = (Limiter::new(4), Instant::now());
        assert_eq!(taken(&limiter, "2001:db8::1".parse().unwrap(), now), 3);
        assert_eq!(taken(&limiter, "2001:db8::2".parse().unwrap(), now), 0);
        assert_eq!(taken(&limiter, "2001:db8:0:1::1".parse().unwrap(), now), 3);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(ClientType::of("::ffff:127.0.0.1".parse().unwrap()), ClientType::Local);
        assert_eq!(ClientType::of("::1".parse().unwrap()), ClientType::Local);
        assert_eq!(ClientType::of(address(1)), ClientType::Remote);
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), address(1));
    }
}
