use std::time::Duration;

/// What an origin does with one request, step by step. Then it waits for the next one on the same connection.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Whether it begins before the body of the request has been read.
    pub(super) at_once: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Echo { chunked: bool },
    Drip { bytes: Vec<u8>, every: Duration },
    Flood(usize),
    ReadBody,
    Pause(Duration),
    Wait,
    WaitUnread,
    Hang,
    Stall,
    Close,
    Reset,
}

/// Bytes that tell where in a body they were: the same for every call.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    // A prime period, so that no power-of-two buffer hides a piece that is missing or doubled.
    (0..length).map(|position| (position % 251) as u8).collect()
}

impl Script {
    /// Answers 200 with this body and its length.
    #[must_use]
    pub fn ok(body: &str) -> Self {
        Self::send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    /// Sends these bytes.
    #[must_use]
    pub fn send(bytes: impl Into<Vec<u8>>) -> Self {
        Self::default().then_send(bytes)
    }

    /// Answers 200 with the body of the request.
    #[must_use]
    pub fn echo() -> Self {
        Self::default().then(Step::Echo { chunked: false })
    }

    /// Answers 200 with the body of the request, chunked.
    #[must_use]
    pub fn echo_chunked() -> Self {
        Self::default().then(Step::Echo { chunked: true })
    }

    /// Answers nothing, until the peer closes.
    #[must_use]
    pub fn silence() -> Self {
        Self::default().at_once().then_hang()
    }

    /// Closes once it has read the head.
    #[must_use]
    pub fn hang_up() -> Self {
        Self::default().at_once().then_close()
    }

    /// Begins before the body of the request has been read; it is read with what comes later.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// Then sends these bytes.
    #[must_use]
    pub fn then_send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Send(bytes.into()))
    }

    /// Then answers 200 with the body of the request.
    #[must_use]
    pub fn then_echo_it(self) -> Self {
        self.then_read_body().then(Step::Echo { chunked: false })
    }

    /// Then sends these bytes, one at a time.
    #[must_use]
    pub fn then_drip(self, bytes: impl Into<Vec<u8>>, every: Duration) -> Self {
        self.then(Step::Drip { bytes: bytes.into(), every })
    }

    /// Then sends so many bytes of [`pattern`], as fast as the peer reads.
    #[must_use]
    pub fn then_flood(self, bytes: usize) -> Self {
        self.then(Step::Flood(bytes))
    }

    /// Then reads the body of the request, for a script that began at once.
    #[must_use]
    pub fn then_read_body(self) -> Self {
        self.then(Step::ReadBody)
    }

    /// Then does nothing for this long.
    #[must_use]
    pub fn then_pause(self, pause: Duration) -> Self {
        self.then(Step::Pause(pause))
    }

    /// Then waits until [`Origin::release`](super::Origin::release).
    #[must_use]
    pub fn then_wait(self) -> Self {
        self.then(Step::Wait)
    }

    /// Then waits until [`Origin::release`](super::Origin::release), and reads nothing meanwhile.
    #[must_use]
    pub fn then_wait_unread(self) -> Self {
        self.then(Step::WaitUnread)
    }

    /// Then reads whatever comes, until the peer closes.
    #[must_use]
    pub fn then_hang(self) -> Self {
        self.then(Step::Hang)
    }

    /// Then neither reads nor writes ever again.
    #[must_use]
    pub fn then_stall(self) -> Self {
        self.then(Step::Stall)
    }

    /// Then closes.
    #[must_use]
    pub fn then_close(self) -> Self {
        self.then(Step::Close)
    }

    /// Then resets the connection.
    #[must_use]
    pub fn then_reset(self) -> Self {
        self.then(Step::Reset)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
