use std::net::IpAddr;
use std::rc::Rc;

use gatepost_meter::{Level, UnixSeconds};
use gatepost_net::BelievedHeader;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::SharedBody;
use crate::admission::Permit;
use crate::caller::{ProofKinds, Spending};
use crate::compat::Imitation;
use crate::record::{Ended, Record, RequestId};
use crate::stream::Stream;
use crate::trace::Notes;

/// A request being served: what its record will say, and what it holds until its answer has ended.
///
/// Dropped wherever the exchange ends, by an answer or because the client went away.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) stream: Stream,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// In which header the request's sender is believed about its client.
    pub(crate) believed: BelievedHeader,
    /// Of an API that imitates AWS.
    pub(crate) imitation: Option<Box<Imitation>>,
    permit: Option<Permit>,
    /// What pays for the bytes of the answer, if they cost anything.
    pub(super) spending: Option<Box<Spending>>,
    /// There until it is sent off.
    record: Option<Box<Record>>,
    pub(super) ended: Ended,
    pub(super) bytes_out: u64,
}

impl Exchange {
    pub(crate) fn begin(stream: Stream, record: Box<Record>, body: Option<Rc<SharedBody>>) -> Self {
        stream.begin(body);
        stream.connection.worker.begin_exchange();
        let (client, believed) = (stream.connection.client, BelievedHeader::Off);
        Self {
            stream,
            client,
            believed,
            imitation: None,
            permit: None,
            spending: None,
            record: Some(record),
            ended: Ended::Client,
            bytes_out: 0,
        }
    }

    /// The client's address as text.
    pub(crate) fn client_text(&self) -> &HeaderValue {
        self.record.as_ref().map_or(&self.stream.connection.client_text, |record| &record.client)
    }

    /// Whether the client wants the head of the answer alone.
    pub(crate) fn is_head_alone(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.method == Some(Method::HEAD))
    }

    /// Adds to the record.
    pub(crate) fn note(&mut self, addition: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            addition(record);
        }
    }

    /// Answers it as AWS would.
    pub(crate) fn imitate(&mut self, make: impl FnOnce(RequestId) -> Imitation) {
        self.imitation = self.record.as_ref().map(|record| Box::new(make(record.id)));
    }

    /// Listens to what is decided about the request, for its record.
    pub(crate) fn trace(&mut self) -> Option<&mut Notes> {
        self.record.as_mut().map(|record| &mut record.notes)
    }

    /// The proofs that its headers may hold: those that it gave, and keys wherever they are proofs.
    pub(crate) fn proofs(&self) -> ProofKinds {
        self.permit.as_ref().map_or(ProofKinds::NONE, Permit::proofs)
    }

    /// It did not arrive, so if it comes again that is no replay.
    pub(crate) fn forget_delivery(&mut self) {
        self.permit.iter_mut().for_each(Permit::forget_delivery);
    }

    /// Keeps what admission gave until the answer has ended.
    pub(crate) fn hold(&mut self, mut permit: Permit) {
        self.spending = permit.take_spending();
        self.permit = Some(permit);
    }

    /// What is left of its caller's quota.
    pub(crate) fn level(&self) -> Option<(Level, UnixSeconds)> {
        self.permit.as_ref()?.level()
    }

    /// The answer is a refusal, and costs nothing.
    pub(crate) fn spend_nothing(&mut self) {
        self.spending = None;
    }

    /// What pays for the bytes of an upgraded connection.
    pub(crate) fn take_spending(&mut self) -> Option<Box<Spending>> {
        self.spending.take()
    }

    /// What an upgraded connection came to.
    pub(crate) fn tunnelled(&mut self, bytes_in: u64, bytes_out: u64, ended: Ended) {
        self.stream.progress.bytes_in.set(bytes_in);
        self.bytes_out = bytes_out;
        self.ended = ended;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Stream { connection, progress } = &self.stream;
        let now = Instant::now();
        self.stream.end(now);
        drop(progress.answering.borrow_mut().take());
        if let Some(permit) = self.permit.take() {
            permit.sent(self.bytes_out);
        }
        let ended = progress.cut.take().unwrap_or(self.ended);
        if ended == Ended::Client && !progress.is_answered() {
            connection.took_back();
        } else {
            connection.answered();
        }
        let worker = &connection.worker;
        let stopped = ended == Ended::Client && worker.is_quitting();
        let ended = if stopped { Ended::Stop } else { ended };
        worker.end_exchange();
        if let Some(mut record) = self.record.take() {
            record.took = now.saturating_duration_since(record.started);
            record.bytes_in = progress.bytes_in.get();
            record.bytes_out = self.bytes_out;
            record.ended = ended;
            worker.finish(record);
        }
    }
}
