//! What people write: the tables of a configuration file, exactly as they stand there.
//!
//! A key that says nothing is [`Field::Absent`](crate::decode::Field::Absent) here; defaults and
//! everything that takes two keys to judge belong to `resolve`.

mod caller;
mod upstream;

pub(crate) use self::caller::{
    AccessKeyTable, BudgetTable, CallerTable, PlanTable, PlanThrottleTable, QuotaTable, TokenRuleTable,
    TokenSubjectTable,
};
pub(crate) use self::upstream::{EjectTable, HealthTable, UpstreamTable};

use crate::choice::{
    Compat, Forwarded, ProofKind, ProxyProtocol, RedirectTo, Replay, TextFormat, ThrottleBy, TlsVersion,
};
use crate::collections::{Boxed, List, Named, OneOrMany};
use crate::decode::table;
use crate::number::{
    AnswerStatus, Burst, Connections, Factor, HeaderCount, Parallel, Retries, Share, Streams, Workers,
};
use crate::text::{
    AccessLog, Account, AddressReference, Admin, BackendHost, BackendPath, BasePath, ClientAddress, Destination,
    DomainName, Duration, EndpointName, FeedUrl, FieldName, FieldValue, FilePath, FileReference, Glob, Host, Label,
    ListenAddress, Location, Method, Name, Network, NonZeroDuration, Pointer, Rate, Region, RequestPath, RouteKey,
    SecretReference, Size, Timeout,
};
use crate::value::{
    Callers, Discreet, Expectation, HmacSha256, Json, Listen, ListenerRedirect, RedirectStatus, Signed,
};

table! {
    /// A configuration of Gatepost: one file, or one of the files that it includes.
    File in "at the top of the file" {
        /// Where requests come in. `listen = "127.0.0.1:8080"` is short for one listener named
        /// `default`; `[listen.NAME]` tables give each a name, several addresses and limits.
        /// Default: `"127.0.0.1:8080"`. Only one file may have it.
        listen: Listen,

        /// The process itself: threads, state, the admin listener. Only one file may have it.
        server: ServerTable,

        /// What is written about each request. Only one file may have it.
        log: LogTable,

        /// More files, relative to this one: `["routes/*.toml"]`. `*` stands for any characters
        /// within a name, `?` for one; at least one file must match. They are read in the order of
        /// their names. Nothing overrides anything: a name that is defined twice is an error.
        include: List<Glob>,

        /// APIs by name: routes that share hosts, a base path and a throttle.
        api: Named<Name, ApiTable>,

        /// Routes of the API named `default`, by key: `[route."GET /pets/{id}"]`.
        route: Named<RouteKey, RouteTable>,

        /// The names that there are certificates for: `[domain."api.example.com"]`, or
        /// `[domain."*.example.com"]` for the names one label below. Listeners with `tls` choose among
        /// them by the name that a client asks for.
        domain: Named<DomainName, DomainTable>,

        /// Sets of addresses by name, for `from`, `except` and `behind`.
        addresses: Named<Name, AddressesTable>,

        /// Backends that do the same work, by name, for `forward.to`.
        upstream: Named<Name, UpstreamTable>,

        /// How much callers may call, by name, for the `plan` of a caller.
        plan: Named<Name, PlanTable>,

        /// Those who are known, by name, for the `callers` of a route.
        caller: Named<Name, Boxed<CallerTable>>,
    }
}

table! {
    /// The process itself.
    ServerTable in "in `[server]`" {
        /// The directory of what must survive a restart. One process at a time may use it. Relative
        /// to this file; default `"gatepost-state"`.
        state: FilePath,

        /// How many threads serve requests: 1 to 1024. Default: one for each core. Fewer leave room
        /// for other programs on the machine; more than there are cores gain nothing.
        workers: Workers,

        /// Where health and metrics are served: an address with a port, `"unix:PATH"` or `"off"`.
        /// Default `"127.0.0.1:9900"`. Not for the public: give it an address that only operators
        /// reach.
        admin: Admin,

        /// What the admin listener asks for: `"env:NAME"` or `"file:PATH"`. It must be there when
        /// `admin` is a TCP address other machines can reach.
        admin_token: SecretReference,

        /// How long open requests may finish once the process was told to stop. Default `"30s"`;
        /// `"0s"` cuts them off at once.
        drain: Duration,

        /// The region in the ARNs that policies are about. Default `"us-east-1"`.
        region: Region,

        /// The account in the ARNs that policies are about: twelve digits. Default `"000000000000"`.
        account: Account,
    }
}

table! {
    /// What is written about requests.
    LogTable in "in `[log]`" {
        /// Where one JSON line for each request goes: `"stdout"` (default), `"file:PATH"` or
        /// `"off"`. With `"off"` nobody can tell later why a request was refused.
        access: AccessLog,
    }
}

table! {
    /// A listener: addresses that share limits.
    ListenerTable in "in a listener" requires [addresses] {
        /// The addresses with their ports: `["203.0.113.10:443", "[2001:db8::10]:443"]`. Port 0 takes
        /// any free port. `[::]` is IPv6 only; name `0.0.0.0` beside it for both.
        addresses: List<ListenAddress>,

        /// `true` speaks TLS here, with the certificates of `[domain."…"]`. Default `false`.
        tls: bool,

        /// The load balancers and proxies that are believed about the client's address: addresses,
        /// CIDRs, names of address sets, and built-in sets such as `"@cloudflare"`. They must not cover the whole internet: whoever is
        /// believed can claim any address. Default: nobody is believed, and the client is whoever
        /// connected.
        behind: List<AddressReference>,

        /// The one header that tells the client's address when a sender of `behind` sends it:
        /// `"x-forwarded-for"` (default), `"forwarded"` (RFC 7239) or `"off"`. The other is not
        /// looked at. It must be the one that your load balancer writes itself: one that it merely
        /// passes on says what the client likes.
        forwarded: Forwarded,

        /// Whether senders of `behind` begin a connection with a PROXY header (version 1 or 2):
        /// `"off"` (default), `"optional"` or `"required"`.
        proxy_protocol: ProxyProtocol,

        /// `"https"` sends every client to the same URL by HTTPS, and nothing else is served here;
        /// `{ to = "https", status = 301 }` says with which status. Not together with `tls`.
        redirect: ListenerRedirect,

        /// What clients may take here. Every limit has a default; raise one only when real clients
        /// meet it.
        limits: LimitsTable,

        /// Makes the listener private in the eyes of policies: what comes in here came through the
        /// interface endpoint of this name (`aws:SourceVpce`), and its client's address is
        /// `aws:VpcSourceIp` instead of `aws:SourceIp`.
        vpce: EndpointName,

        /// The same, with the network of this name (`aws:SourceVpc`).
        vpc: EndpointName,
    }
}

table! {
    /// Sends the clients of a listener to HTTPS.
    ListenerRedirectTable in "in the `redirect` of a listener" requires [to] {
        /// Where to: `"https"`.
        to: RedirectTo,

        /// 301, 302, 303, 307 or 308. Default 308: permanent, with the method kept. Clients remember
        /// 301 and 308.
        status: RedirectStatus,
    }
}

table! {
    /// What clients of one listener may take.
    LimitsTable in "in `limits`" {
        /// Open connections at once, 1 to 10000000. Default 20000. Each costs memory and a file
        /// descriptor.
        connections: Connections,

        /// The length of a request's line and headers together, `"8KiB"` to `"1MiB"`. Default
        /// `"64KiB"`.
        header_bytes: Size,

        /// How many header fields a request may have, 1 to 1000. Default 100.
        headers: HeaderCount,

        /// How long a client may take to send a request's headers. Default `"10s"`. It is what stops
        /// clients that send a byte now and then.
        header_timeout: NonZeroDuration,

        /// How long a connection may be silent between two requests, or while an answer is written
        /// and nobody reads it. Default `"60s"`.
        idle_timeout: NonZeroDuration,

        /// How long a client may be silent between two pieces of a request's body. Default `"30s"`.
        body_timeout: NonZeroDuration,

        /// Requests at once on one HTTP/2 connection, 1 to 1000. Default 100.
        streams: Streams,
    }
}

table! {
    /// A name that there is a certificate for.
    DomainTable in "in a domain" requires [tls] {
        /// The certificate and its key.
        tls: DomainTlsTable,

        /// The oldest version of TLS that is spoken: `"1.2"` (default) or `"1.3"`.
        min_tls: TlsVersion,
    }
}

table! {
    /// A certificate and its key.
    DomainTlsTable in "in the `tls` of a domain" requires [cert, key] {
        /// The certificate, then those of its issuers, in PEM: `"file:PATH"`. Relative to this file,
        /// and watched: a renewed certificate is used from the next connection on.
        cert: FileReference,

        /// The certificate's private key in PEM, not encrypted: `"file:PATH"` or `"env:NAME"`.
        key: SecretReference,
    }
}

table! {
    /// An API: routes that share hosts, a base path and a throttle.
    ApiTable in "in an API" {
        /// The hosts it answers for: `["api.example.com", "*.example.com"]`, where `*.` stands for
        /// one label or more. Default: any host.
        hosts: List<Host>,

        /// The names of the listeners it answers on. Default: all of them, but those that only
        /// redirect. An API for colleagues only names a listener that only they reach.
        listen: List<Name>,

        /// A path that all routes begin with, such as `"/v1"`. It is taken off before routes are
        /// matched and before a request is forwarded. Default: none.
        base: BasePath,

        /// What ARNs and logs call its stage. Default `"$default"`. It is never read from the URL.
        stage: Label,

        /// What ARNs and logs call it. Default: its name.
        id: Label,

        /// An AWS resource policy, as it is: `"file:policies/hooks.json"`. It must allow each request
        /// to the API, and its routes need no other rule. Relative to this file, and watched.
        policy: FileReference,

        /// The kind of AWS API that is imitated, down to the answers of the gateway itself:
        /// `"aws-rest"`, a REST API. Default: none, Gatepost answers in its own way.
        compat: Compat,

        /// One bucket, or several, that all routes of the API share.
        throttle: OneOrMany<ApiThrottleTable>,

        /// Its routes by key: `[api.NAME.route."GET /pets/{id}"]`.
        route: Named<RouteKey, RouteTable>,
    }
}

table! {
    /// A token bucket that all requests to an API share.
    ApiThrottleTable in "in the `throttle` of an API" requires [rate] {
        /// How fast tokens come back: `"50/s"`, `"600/m"`, `"1/h"`, `"10000/d"`.
        rate: Rate,

        /// How many requests may come at once, at least 1. Default: one second's rate, at least 1.
        burst: Burst,
    }
}

table! {
    /// A token bucket that requests to a route share, or those of one client.
    ThrottleTable in "in `throttle`" requires [rate] {
        /// How fast tokens come back: `"50/s"`, `"600/m"`, `"1/h"`, `"10000/d"`.
        rate: Rate,

        /// How many requests may come at once, at least 1. Default: one second's rate, at least 1.
        burst: Burst,

        /// Who shares a bucket: `"route"` (default), everyone who calls the route; `"client"`, the
        /// requests of one client address, or of one /64 of IPv6; `"caller"`, those of one caller, where
        /// the route has `callers`.
        by: ThrottleBy,
    }
}

table! {
    /// A route: who may enter, and what happens then.
    RouteTable in "in a route" {
        /// The client addresses that may enter: addresses, CIDRs, names of address sets, and built-in
        /// sets such as `"@github/hooks"`. This, `callers`, `jwt`, `policy`, `signed` or `open` must be
        /// there, unless the API has a `policy`.
        from: List<AddressReference>,

        /// Client addresses that may not enter although `from` has them.
        except: List<AddressReference>,

        /// The callers that may enter, by name, or `"any"`: whoever is known.
        callers: Callers,

        /// How a caller must prove who it is: every one of `"key"`, `"sigv4"`, `"jwt"` and `"signed"` that is
        /// listed, and all must be of one caller. Default: any one of them.
        proof: List<ProofKind>,

        /// Lets in requests with a good token of an issuer. With `callers` beside it, both must hold.
        jwt: Discreet<TokenRuleTable>,

        /// An AWS resource policy that must allow each request, beside that of the API:
        /// `"file:policies/hooks.json"`. Relative to this file, and watched.
        policy: FileReference,

        /// Lets in requests whose body carries a good signature, as the senders of webhooks write them:
        /// `{ github = "env:NAME" }`. With `from` or a policy beside it, all must hold.
        signed: Signed,

        /// `true` lets everyone in. Not for anything that only some should reach.
        open: bool,

        /// One bucket, or several that must all have a token. A request that is refused for another
        /// reason takes none, except from the bucket of its client.
        throttle: OneOrMany<ThrottleTable>,

        /// How many requests may be under way at once, 1 to 1000000; more are refused with 503.
        /// Default: no limit.
        parallel: Parallel,

        /// What all requests to the route together may cost.
        budget: BudgetTable,

        /// The longest request body; a longer one is refused with 413. Default `"10MiB"`; `"0B"`
        /// takes no body at all.
        max_body: Size,

        /// Sends the request to a backend.
        forward: ForwardTable,

        /// Answers without a backend.
        respond: RespondTable,

        /// Sends the client elsewhere.
        redirect: RedirectTable,

        /// Requests, and what must become of them. `gatepost check` tries them, and a reload is
        /// rejected unless they hold.
        example: List<ExampleTable>,
    }
}

table! {
    /// How bodies are signed, and with which secrets: exactly one of `github`, `stripe`, `slack`,
    /// `standard-webhooks` and `hmac-sha256`. A list of secrets is for while one is rotated: each of them
    /// is good.
    SignedTable in "in `signed`" {
        /// GitHub's `X-Hub-Signature-256`, made with this secret: `"env:NAME"` or `"file:PATH"`, or a
        /// list of them.
        github: OneOrMany<SecretReference>,

        /// Stripe's `Stripe-Signature`; the secret as Stripe shows it, `whsec_` included.
        stripe: OneOrMany<SecretReference>,

        /// Slack's `X-Slack-Signature` and `X-Slack-Request-Timestamp`.
        slack: OneOrMany<SecretReference>,

        /// `webhook-id`, `webhook-timestamp` and `webhook-signature` of www.standardwebhooks.com; the
        /// secret is base64, with or without `whsec_` before it.
        standard_webhooks as "standard-webhooks": OneOrMany<SecretReference>,

        /// Any other sender that writes HMAC-SHA-256 of the body into a header.
        hmac_sha256 as "hmac-sha256": HmacSha256,

        /// How far the time that a sender has signed may lie from now, `"1s"` to `"1d"`; default `"5m"`.
        /// With `replay = "refuse"` also how long a delivery is remembered.
        tolerance: NonZeroDuration,

        /// A delivery that was let in before is let in again with `"allow"` (default), or refused with
        /// `"refuse"`.
        replay: Replay,
    }
}

table! {
    /// HMAC-SHA-256 of the body in a header.
    HmacSha256Table in "in `hmac-sha256`" requires [secret, header] {
        /// The secret: `"env:NAME"` or `"file:PATH"`, or a list of them.
        secret: OneOrMany<SecretReference>,

        /// The header that the signature is in: `"x-signature"`.
        header: FieldName,

        /// How it is written there: `"hex"` (default) or `"base64"`.
        format: TextFormat,

        /// What stands before it: `"sha256="`. Default: nothing.
        prefix: FieldValue,

        /// With `replay = "refuse"`: the header with the id of a delivery, such as `"x-delivery-id"`.
        /// Default: a delivery is known by its signature alone.
        id: FieldName,
    }
}

table! {
    /// How a request is sent to a backend.
    ForwardTable in "in `forward`" requires [to] {
        /// The backend, `"http://host:port"` or `"https://host:port"` without a path, or the name of
        /// an `[upstream.NAME]`. Without a port it is 80 or 443. The certificate of an `https` backend
        /// must be good for its host.
        to: Destination,

        /// From the start of forwarding to the last byte of the answer, whoever is slow. Default
        /// `"30s"`. `"off"` waits for ever: only for streams that are meant to stay open.
        timeout: Timeout,

        /// The path that the backend is asked for: `"/v2/{id}/{rest}"`, where `{name}` stands for a
        /// parameter of the route's key, as it came. The query is passed on. Default: the path of the
        /// request without the API's `base`.
        path: BackendPath,

        /// The `Host` that the backend sees: `"upstream"` (default: the backend's own), `"client"`
        /// (what the client sent), or a host. Use `"client"` only for a backend that is ready for
        /// whatever a stranger may write there.
        host: BackendHost,

        /// Headers that are set or not passed on.
        headers: ForwardHeadersTable,

        /// How many other targets are tried, 0 (default) to 10, when one cannot be reached. Another is
        /// tried only if nothing of the request was sent, or if its method may be repeated and it has
        /// no body.
        retries: Retries,

        /// Where the backend's address may lie: `["10.0.3.0/24"]`. Without it a name may stand only
        /// for addresses of the public internet; an address is taken as it is written, except
        /// link-local and metadata addresses.
        networks: List<Network>,
    }
}

table! {
    /// Headers on the way to a backend.
    ForwardHeadersTable in "in `headers`" {
        /// Headers to set, in place of what the client sent: `{ x-source = "gatepost" }`.
        set: Named<FieldName, FieldValue>,

        /// Headers of the client that are not passed on: `["cookie"]`.
        remove: List<FieldName>,
    }
}

table! {
    /// An answer that needs no backend.
    RespondTable in "in `respond`" {
        /// The status, 200 to 599. Default 200.
        status: AnswerStatus,

        /// The body as text. Its `content-type` is `text/plain; charset=utf-8` unless `headers` has
        /// one.
        body: String,

        /// The body as JSON, written as a TOML value; in place of `body`. Its `content-type` is
        /// `application/json` unless `headers` has one.
        json: Json,

        /// More headers of the answer.
        headers: Named<FieldName, FieldValue>,
    }
}

table! {
    /// Sends the client elsewhere.
    RedirectTable in "in `redirect`" requires [to] {
        /// The new location: a path or a URL, with `{name}` for a parameter of the route's key. The
        /// query of the request is carried over unless the location has one.
        to: Location,

        /// 301, 302, 303, 307 or 308. Default 308: permanent, with the method kept. Clients remember
        /// 301 and 308, so use 307 while it may still change.
        status: RedirectStatus,
    }
}

table! {
    /// A request, and what must become of it.
    ExampleTable in "in an example" requires [from, expect] {
        /// The client's address.
        from: ClientAddress,

        /// The caller that it proves to be, in every way that the route asks for. Default: nobody.
        caller: Name,

        /// The method. Default: the first of the route's key, `GET` for `ANY`.
        method: Method,

        /// The path with its query, as the client sends it, `base` included. Default: the path of the
        /// route's key, a parameter standing for its own name.
        path: RequestPath,

        /// Headers of the request.
        headers: Named<FieldName, FieldValue>,

        /// `"admitted"`, or the status of the refusal: `403`.
        expect: Expectation,
    }
}

table! {
    /// A set of addresses. Exactly one of `list`, `file` and `url` says what it holds; the other keys
    /// are for `url`.
    AddressesTable in "in an address set" {
        /// Addresses and CIDRs: `["203.0.113.0/24", "2001:db8::/48"]`.
        list: List<Network>,

        /// A file with one address or CIDR a line; `#` begins a comment. Relative to this file.
        file: FilePath,

        /// A list that somebody publishes, `http://` or `https://`. It is fetched at the start and then
        /// again and again; the last good copy is kept in the `state` directory. Until there is one,
        /// routes that need it answer 503. A host name may stand only for addresses of the public
        /// internet; the certificate of an `https` host must be from a public authority.
        url: FeedUrl,

        /// What of a JSON document counts: a JSON pointer (RFC 6901) to an array of addresses and
        /// CIDRs, `"/hooks"`, or a list of several. Default: the document is text, one address or CIDR
        /// a line, and `#` begins a comment.
        pick: OneOrMany<Pointer>,

        /// How often the list is asked for, `"10s"` to `"30d"`. Default `"1h"`.
        every: NonZeroDuration,

        /// A copy that was not confirmed for longer than this is stale: it still counts, and an alarm
        /// says so. At least `every`. Default `"7d"`.
        max_age: NonZeroDuration,

        /// The share of the addresses that an update may lose, 0 to 1: one that loses more is held, with
        /// an alarm. IPv4 and IPv6 are judged each by itself. Default 0.5.
        shrink: Share,

        /// How many times as many addresses an update may cover, at least 1: one that covers more is
        /// held, with an alarm. Default 2.
        grow: Factor,
    }
}
