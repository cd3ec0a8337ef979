//! One provider over HTTP: a request out, an answer back.
//!
//! Guarantees: no connection, certificate or client is made before the first
//! request; redirections are not followed, so that no key reaches another host;
//! loopback is never asked through a proxy. Clients are shared by the process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::env::SessionEnv;
use amplifier_core::module::provider::{
    ChatRequest, ChatStream, ModelInfo, Provider, ProviderError, ProviderErrorKind, ProviderInfo,
};
use amplifier_core::{Clock, Ids, Price};
use async_trait::async_trait;
use futures_core::Stream;
use genai::resolver::{AuthData, Endpoint};
use genai::{Headers, ModelIden, ServiceTarget};
use reqwest::Url;
use reqwest::header::USER_AGENT;
use serde_json::Value;

use super::config::{Secret, Settings};
use super::wire::Wire;
use super::wire::answer::Answer;
use super::wire::error::Blame;
use super::wire::image::Wanted;
use super::wire::request::{Defaults, conversation, options};
use super::wire::stream::{AnswerStream, Frames};
use super::{Address, Service, Target};

/// Longest list of models that is read, in bytes.
const MODELS_BYTES: usize = 8 << 20;
/// Most clients that the process keeps; settings differ in connect time-outs only.
const CLIENTS: usize = 8;
/// What the program calls itself towards services.
const AGENT: &str = concat!("amplifier/", env!("CARGO_PKG_VERSION"));

/// A provider over HTTP.
pub(super) struct HttpProvider {
    service: &'static Service,
    settings: Settings,
    wire: Wire,
    info: ProviderInfo,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl std::fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProvider")
            .field("info", &self.info)
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}

impl HttpProvider {
    pub(super) fn new(
        service: &'static Service,
        settings: Settings,
        info: ProviderInfo,
        env: &SessionEnv,
    ) -> Self {
        let wire = (service.wire)(&settings);
        Self { service, settings, wire, info, clock: Arc::clone(&env.clock), ids: Arc::clone(&env.ids) }
    }

    fn blame(&self) -> Blame {
        let base = self.settings.base_url(self.service).ok();
        let host = base.and_then(|url| Some((url.host_str()?, url.port()))).map(|(host, port)| match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        });
        let header_values = self.settings.headers.values();
        let secrets: Vec<Secret> = self.settings.api_key.iter().chain(header_values).cloned().collect();
        Blame {
            provider: self.info.name.clone(),
            host: host.unwrap_or_else(|| "the service".into()),
            key_name: self.settings.key_name.clone(),
            secrets,
            clock: Arc::clone(&self.clock),
        }
    }

    /// Where `path` lies, with all headers of a request.
    fn target(&self, base: &Url, model: &str, path: &str) -> Target {
        let address = Address { base, settings: &self.settings, model, path };
        let mut target = (self.service.address)(&address);
        let own = self.settings.headers.iter();
        target.headers.push((USER_AGENT.as_str().to_owned(), AGENT.to_owned()));
        target
            .headers
            .retain(|(name, _)| !self.settings.headers.keys().any(|own| own.eq_ignore_ascii_case(name)));
        target.headers.extend(own.map(|(name, value)| (name.to_lowercase(), value.reveal().to_owned())));
        target
    }

    fn ready(&self, blame: &Blame, model: Option<&str>) -> Result<(Url, String), ProviderError> {
        let ready = self.settings.ready(self.service, model);
        let (base, model) = ready.map_err(|message| blame.error(ProviderErrorKind::Config, message))?;
        Ok((base.clone(), model))
    }

    async fn begin(&self, request: ChatRequest, blame: Blame) -> Result<AnswerStream, ProviderError> {
        let (base, model) = self.ready(&blame, request.model.as_deref())?;
        let defaults = Defaults {
            max_tokens: self.settings.max_tokens,
            temperature: self.settings.temperature,
            reasoning: self.settings.reasoning,
            prompt_caching: self.settings.prompt_caching,
            cache_key: self.service.cache_key,
            images: Wanted {
                users: self.settings.images != Some(false),
                tools: self.settings.images.unwrap_or(self.service.sees),
            },
        };
        let target = self.target(&base, &model, &self.wire.path(&model));
        let (mut options, known_as) = options(self.wire, &request, defaults, &model);
        options.stream_header_timeout = Some(self.settings.timeouts.first_byte);
        options.stream_read_timeout = Some(self.settings.timeouts.read);
        let frames = Arc::new(Frames::default());
        options.raw_frame_sink = Some(frames.clone());
        let clients = clients(&base, self.settings.timeouts.connect);
        let clients = clients.map_err(|message| blame.error(ProviderErrorKind::Config, message))?;
        let service_target = ServiceTarget {
            endpoint: Endpoint::from_owned(base.as_str()),
            auth: AuthData::RequestOverride {
                url: target.url.into(),
                headers: Headers::from(target.headers),
            },
            model: ModelIden::new(self.wire.kind(), known_as),
        };
        let chat = conversation(self.wire, &request, defaults);
        let response = clients.genai.exec_chat_stream(service_target, chat, Some(&options)).await;
        let response = response.map_err(|error| {
            let message = "the request could not be built";
            blame.classify(&error).unwrap_or_else(|| blame.error(ProviderErrorKind::Invalid, message))
        })?;
        let answer = Answer::new(model, self.ids.v4().as_u64_pair().1);
        Ok(AnswerStream::new(response.stream, frames, self.wire.decoder(), answer, blame))
    }

    async fn list(&self, path: &str, blame: &Blame) -> Result<Value, ProviderError> {
        let (base, model) = self.ready(blame, Some("any"))?;
        let target = self.target(&base, &model, path);
        let clients = clients(&base, self.settings.timeouts.connect);
        let clients = clients.map_err(|message| blame.error(ProviderErrorKind::Config, message))?;
        let mut request = clients.plain.get(target.url).timeout(self.settings.timeouts.first_byte);
        for (name, value) in target.headers {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| blame.transport(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| blame.transport(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MODELS_BYTES {
                return Err(blame.malformed("the list of models is over 8 MiB"));
            }
        }
        if !status.is_success() {
            return Err(blame.status(status.as_u16(), &headers, &String::from_utf8_lossy(&body)));
        }
        serde_json::from_slice(&body).map_err(|error| blame.malformed(&error.to_string()))
    }
}

#[async_trait]
impl Provider for HttpProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        let Some(path) = self.service.models_path else {
            let model = Some(self.settings.model.clone()).filter(|model| !model.is_empty());
            return Ok(model.map(ModelInfo::named).into_iter().collect());
        };
        let list = self.list(path, &self.blame()).await?;
        let entries = list.get("data").or_else(|| list.get("models")).and_then(Value::as_array);
        Ok(entries.into_iter().flatten().filter_map(model).collect())
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let mut stream = Box::pin(self.begin(request, self.blame()).await?);
        // Until the first piece, a refusal is an error of the request and not of its answer.
        let first = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await;
        let first = first.transpose()?;
        Ok(Box::pin(Resumed { first: first.map(Ok), rest: stream }))
    }

    fn price(&self, model: &str) -> Option<Price> {
        let listed = || self.settings.listed(self.service, model).map(|one| one.price);
        self.settings.prices.find(model).or_else(listed)
    }

    fn max_output(&self, model: &str) -> Option<u64> {
        let listed = || self.settings.listed(self.service, model).map(|one| one.max_output);
        self.settings.max_tokens.or_else(listed)
    }
}

/// A stream of which one item was taken already.
struct Resumed<S: Stream> {
    first: Option<S::Item>,
    rest: std::pin::Pin<Box<S>>,
}

impl<S: Stream> Stream for Resumed<S>
where
    S::Item: Unpin,
{
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(item) => std::task::Poll::Ready(Some(item)),
            None => this.rest.as_mut().poll_next(cx),
        }
    }
}

/// An entry of a list of models, as the services write them.
fn model(entry: &Value) -> Option<ModelInfo> {
    let name = ["id", "name"].iter().find_map(|key| entry.get(key)?.as_str())?;
    let mut info = ModelInfo::named(name.strip_prefix("models/").unwrap_or(name));
    let number = |keys: &[&str]| keys.iter().find_map(|key| entry.get(key)?.as_u64());
    info.context_window = number(&["inputTokenLimit", "context_length", "max_model_len", "max_input_tokens"]);
    info.max_output_tokens = number(&["outputTokenLimit", "max_tokens"]);
    Some(info)
}

/// What requests go through.
#[derive(Clone)]
struct Clients {
    genai: genai::Client,
    plain: reqwest::Client,
}

#[derive(Clone, PartialEq, Eq)]
struct ClientKey {
    tls: bool,
    loopback: bool,
    connect: Duration,
}

/// The process's clients for hosts of the kind of `url`, made at the first use.
fn clients(url: &Url, connect: Duration) -> Result<Clients, String> {
    // Held while a client is made, so that only one is; never across an await.
    static MADE: Mutex<Vec<(ClientKey, Clients)>> = Mutex::new(Vec::new());
    let key = ClientKey { tls: url.scheme() == "https", loopback: is_loopback(url), connect };
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, clients)) = made.iter().find(|(other, _)| *other == key) {
        return Ok(clients.clone());
    }
    let clients =
        make(&key).map_err(|_| "the HTTP client could not be made; check the system's certificates")?;
    if made.len() == CLIENTS {
        made.remove(0);
    }
    made.push((key, clients.clone()));
    Ok(clients)
}

fn make(key: &ClientKey) -> Result<Clients, Box<dyn std::error::Error>> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(key.connect)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if key.loopback {
        builder = builder.no_proxy();
    }
    if key.tls {
        builder = builder.http2_keep_alive_interval(Duration::from_secs(20)).http2_adaptive_window(true);
    } else {
        // Without TLS no certificates are wanted, which take most of a client's time; and
        // connections of a stream that ended early cannot be used again anyway.
        builder = builder.tls_certs_only([]).pool_max_idle_per_host(0);
    }
    let plain = builder.build()?;
    let genai = genai::Client::builder().with_reqwest(plain.clone()).build()?;
    Ok(Clients { genai, plain })
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
