//! Places for connections: bounded, and the newest comes in. Where all are taken, whoever has waited longest without a whole
//! request goes: a thousand clients that say nothing keep nobody out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One connection.
#[derive(Debug, Clone)]
struct Seat {
    /// How many answers of it are on their way.
    busy: Arc<AtomicUsize>,
    gone: CancellationToken,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By the order of their coming.
    seats: BTreeMap<u64, Seat>,
}

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

/// A place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    seat: Seat,
}

/// While a request is answered, its connection is left alone.
#[derive(Debug)]
pub(super) struct Busy(Arc<AtomicUsize>);

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place: at once, unless all connections are being answered.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.seats.len() >= self.most {
            let idle = |(_, seat): &(&u64, &Seat)| seat.busy.load(Ordering::Relaxed) == 0;
            let oldest = taken.seats.iter().find(idle).map(|(number, _)| *number)?;
            // Its own drop finds nothing left to remove.
            if let Some(seat) = taken.seats.remove(&oldest) {
                seat.gone.cancel();
            }
        }
        let number = taken.next;
        taken.next += 1;
        let seat = Seat {
            busy: Arc::default(),
            gone: CancellationToken::new(),
        };
        taken.seats.insert(number, seat.clone());
        Some(Place {
            places: Arc::clone(self),
            number,
            seat,
        })
    }
}

impl Place {
    /// Ends when somebody else needs the place more.
    pub(super) fn gone(&self) -> CancellationToken {
        self.seat.gone.clone()
    }

    /// A request of this connection is whole, and being answered.
    pub(super) fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.seat.busy)
    }
}

impl Busy {
    pub(super) fn new(flag: &Arc<AtomicUsize>) -> Self {
        flag.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(flag))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.seats.remove(&self.number);
        drop(taken);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_newest_comes_in_and_the_oldest_idle_one_goes() {
        let places = Places::new(2);
        let (first, second) = (places.take().await, places.take().await);
        let busy = Busy::new(&first.flag());
        let third = places.take().await;
        assert!(!first.gone().is_cancelled(), "it is being answered");
        assert!(second.gone().is_cancelled());
        drop(busy);
        let _fourth = places.take().await;
        assert!(first.gone().is_cancelled() && !third.gone().is_cancelled());
    }

    #[tokio::test]
    async fn where_all_are_answered_one_waits_its_turn() {
        let places = Places::new(1);
        let only = places.take().await;
        let _busy = Busy::new(&only.flag());
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await.number }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(only);
        assert_eq!(waiting.await.unwrap(), 1);
    }
}
