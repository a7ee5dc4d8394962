//! Which path is served by what. A handler takes every method, so that a wrong one is a 405 that names the right ones.

use std::convert::Infallible;
use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::path::Tail;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::app::App;
use crate::call::{Call, Meta, call};
use crate::config::PrototypeMode;
use crate::problem::Problem;
use crate::v1::admin::Verb;
use crate::{health, metrics, page, prototype, v1};

/// All routes: every request gets a reply.
pub(crate) type Routes = BoxedFilter<(Response,)>;

/// Routes of one door; what none of them matches is rejected.
type Door = BoxedFilter<(Response,)>;

pub(crate) fn all(app: Arc<App>) -> Routes {
    let door = objects(&app)
        .or(buckets(&app))
        .unify()
        .or(verbs(&app))
        .unify()
        .or(jobs(&app))
        .unify()
        .or(moves(&app))
        .unify()
        .boxed();
    let door = door.or(views(&app)).unify().or(open(&app)).unify().boxed();
    let door = if app.prototype == PrototypeMode::Off { door } else { door.or(prototype_door(&app)).unify().boxed() };
    let unmatched = warp::ext::get::<Meta>().map(|meta: Meta| Problem::no_route(&meta.path).into_native(&meta));
    door.or(unmatched).unify().recover(refused).unify().boxed()
}

/// What is still rejected here has no [`Meta`], and so did not come through the server.
async fn refused(_: Rejection) -> Result<Response, Infallible> {
    let mut response = Response::new(bytes::Bytes::new().into());
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    Ok(response)
}

/// Ends a route: the handler's reply, or its problem in the native form.
macro_rules! native {
    ($path:expr, $app:expr, |$call:ident $(, $param:ident)*| $handler:expr) => {
        $path
            .and(call($app.clone()))
            .then(|$($param: String,)* $call: Call| async move {
                let meta = $call.meta.clone();
                $handler.await.unwrap_or_else(|problem: Problem| problem.into_native(&meta))
            })
            .boxed()
    };
}

/// The same in the prototype's form.
macro_rules! text {
    ($path:expr, $app:expr, |$call:ident $(, $param:ident)*| $handler:expr) => {
        $path
            .and(call($app.clone()))
            .then(|$($param: String,)* $call: Call| async move {
                let meta = $call.meta.clone();
                $handler.await.unwrap_or_else(|problem: Problem| problem.into_text(&meta))
            })
            .boxed()
    };
}

/// The rest of the path as text, percent-encoded; empty when there is none.
fn rest() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::path::tail().map(|tail: Tail| tail.as_str().to_owned())
}

fn objects(app: &Arc<App>) -> Door {
    let object = warp::path!("v1" / "b" / String / "o" / ..).and(rest());
    let listing = warp::path!("v1" / "b" / String / "o");
    native!(listing, app, |call, bucket| v1::listing::serve(call, bucket))
        .or(native!(object, app, |call, bucket, key| v1::objects::serve(call, bucket, key)))
        .unify()
        .boxed()
}

fn buckets(app: &Arc<App>) -> Door {
    native!(warp::path!("v1" / "b"), app, |call| v1::buckets::list(call))
        .or(native!(warp::path!("v1" / "b" / String), app, |call, bucket| v1::buckets::serve(call, bucket)))
        .unify()
        .boxed()
}

fn verbs(app: &Arc<App>) -> Door {
    native!(warp::path!("v1" / "check"), app, |call| v1::admin::start(call, Verb::Check))
        .or(native!(warp::path!("v1" / "repair"), app, |call| v1::admin::start(call, Verb::Repair)))
        .unify()
        .or(native!(warp::path!("v1" / "drill"), app, |call| v1::admin::start(call, Verb::Drill)))
        .unify()
        .or(native!(warp::path!("v1" / "durability"), app, |call| v1::admin::start(call, Verb::Durability)))
        .unify()
        .or(native!(warp::path!("v1" / "sweep"), app, |call| v1::admin::start(call, Verb::Sweep)))
        .unify()
        .or(native!(warp::path!("v1" / "catalog" / "rebuild"), app, |call| {
            v1::admin::start(call, Verb::CatalogRebuild)
        }))
        .unify()
        .or(native!(warp::path!("v1" / "catalog" / "verify"), app, |call| {
            v1::admin::start(call, Verb::CatalogVerify)
        }))
        .unify()
        .boxed()
}

fn moves(app: &Arc<App>) -> Door {
    native!(warp::path!("v1" / "drain"), app, |call| v1::moves::start(call, v1::moves::Verb::Drain))
        .or(native!(warp::path!("v1" / "rebalance"), app, |call| v1::moves::start(call, v1::moves::Verb::Rebalance)))
        .unify()
        .or(native!(warp::path!("v1" / "rescheme"), app, |call| v1::moves::start(call, v1::moves::Verb::Rescheme)))
        .unify()
        .or(native!(warp::path!("v1" / "moves"), app, |call| v1::moves::list(call)))
        .unify()
        .or(native!(warp::path!("v1" / "moves" / String), app, |call, id| v1::moves::cancel(call, id)))
        .unify()
        .or(native!(warp::path!("v1" / "moves" / String / "pause"), app, |call, id| v1::moves::pause(call, id, true)))
        .unify()
        .or(native!(warp::path!("v1" / "moves" / String / "resume"), app, |call, id| v1::moves::pause(call, id, false)))
        .unify()
        .or(native!(warp::path!("v1" / "backends" / String), app, |call, name| v1::moves::add_backend(call, name)))
        .unify()
        .boxed()
}

fn jobs(app: &Arc<App>) -> Door {
    native!(warp::path!("v1" / "jobs"), app, |call| v1::jobs::list(call))
        .or(native!(warp::path!("v1" / "jobs" / String), app, |call, id| v1::jobs::serve(call, id)))
        .unify()
        .or(native!(warp::path!("v1" / "jobs" / String / "events"), app, |call, id| v1::jobs::events(call, id)))
        .unify()
        .boxed()
}

fn views(app: &Arc<App>) -> Door {
    native!(warp::path!("v1" / "status"), app, |call| v1::views::status(call))
        .or(native!(warp::path!("v1" / "backends"), app, |call| v1::views::backends(call)))
        .unify()
        .or(native!(warp::path!("v1" / "events"), app, |call| v1::views::events(call)))
        .unify()
        .or(native!(warp::path!("v1" / "ledger"), app, |call| v1::views::ledger(call)))
        .unify()
        .or(native!(warp::path!("v1" / "plan"), app, |call| v1::views::plan(call)))
        .unify()
        .or(native!(warp::path!("v1" / "openapi.json"), app, |call| v1::views::openapi(call)))
        .unify()
        .boxed()
}

fn open(app: &Arc<App>) -> Door {
    native!(warp::path::end(), app, |call| page::serve(call))
        .or(native!(warp::path!("health" / "live"), app, |call| health::live(call)))
        .unify()
        .or(native!(warp::path!("health" / "ready"), app, |call| health::ready(call)))
        .unify()
        .or(native!(warp::path!("metrics"), app, |call| metrics::serve(call)))
        .unify()
        .boxed()
}

fn prototype_door(app: &Arc<App>) -> Door {
    text!(warp::path!("list_data"), app, |call| prototype::read::list(call))
        .or(text!(warp::path!("submit_data"), app, |call| prototype::submit::serve(call)))
        .unify()
        .or(text!(warp::path!("check_data" / ..).and(rest()), app, |call, name| prototype::read::check(call, name)))
        .unify()
        .or(text!(warp::path!("retrieve_data" / ..).and(rest()), app, |call, name| {
            prototype::read::retrieve(call, name)
        }))
        .unify()
        .or(text!(warp::path!("repair_data" / ..).and(rest()), app, |call, name| {
            prototype::repair::serve(call, name)
        }))
        .unify()
        .boxed()
}
