//! One attempt, one dialog, one registration, one transfer at a time.

use super::build::{Sip, World, answered_call, audio, invite, micros, request, response, stamp};
use crate::call::{CallKey, Side};
use crate::event::{CallResult, CallState, EndReason, RegistrationResult, Via as Way};
use crate::sip::Message;
use crate::sip::sdp::Direction;

/// The only record.
fn only(world: &World) -> &crate::event::Call {
    assert_eq!(world.records.len(), 1, "{:#?}", world.records);
    &world.records[0]
}

fn after(mut messages: Vec<Sip>, more: impl IntoIterator<Item = Sip>) -> Vec<Sip> {
    messages.extend(more);
    messages
}

fn bye(at: f64, cseq: u32, branch: &str) -> [Sip; 2] {
    [request(at, "U>P", "BYE", cseq, branch), response(at + 0.1, 200, "BYE", cseq, branch)]
}

#[test]
fn a_second_challenge_of_the_same_kind_is_a_failure() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            response(0.1, 401, "INVITE", 1, "b1"),
            invite(0.2, 2, "b2"),
            response(0.3, 401, "INVITE", 2, "b2"),
        ],
        60.0,
    );
    let call = only(&world);
    assert_eq!((call.result, call.status, call.challenged), (Some(CallResult::Failed), Some(401), true));
    assert_eq!(call.session_request_failed.map(micros), Some(0.3));
    assert_eq!(call.auth.map(micros), Some(0.2));
    assert_eq!(world.calls.counters().challenges, [2, 0, 0]);
}

#[test]
fn an_answer_to_an_earlier_invite_of_the_attempt_counts() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            invite(0.1, 2, "b2"),
            response(0.2, 200, "INVITE", 1, "b1"),
            invite(0.3, 3, "b3"),
            response(0.4, 200, "INVITE", 2, "b2"),
            response(0.5, 200, "INVITE", 3, "b3"),
        ],
        10.0,
    );
    let call = only(&world);
    assert_eq!((call.result, call.state), (Some(CallResult::Answered), CallState::Confirmed));
    assert_eq!(call.setup.map(micros), Some(0.2));
}

#[test]
fn a_stale_nonce_or_a_second_server_may_ask_again() {
    for (first, second, stale) in [(407, 407, true), (407, 401, false)] {
        let world = World::run(
            &[
                invite(0.0, 1, "b1"),
                response(0.1, first, "INVITE", 1, "b1"),
                invite(0.2, 2, "b2"),
                response(0.3, second, "INVITE", 2, "b2").with(|sip| sip.stale = stale),
                invite(0.4, 3, "b3"),
                response(0.9, 200, "INVITE", 3, "b3"),
            ],
            10.0,
        );
        let call = only(&world);
        assert_eq!((call.result, call.state), (Some(CallResult::Answered), CallState::Confirmed));
        assert_eq!(call.setup.map(micros), Some(0.9));
    }
}

#[test]
fn a_retry_may_turn_to_another_server() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            response(0.1, 407, "INVITE", 1, "b1"),
            invite(0.2, 2, "b2").hop("U>Q", 1),
            response(0.9, 200, "INVITE", 2, "b2").hop("Q>U", 1),
        ],
        10.0,
    );
    assert_eq!(only(&world).setup.map(micros), Some(0.9));
}

#[test]
fn a_challenge_without_retry_is_abandoned_and_a_later_invite_is_another_attempt() {
    let world = World::run(
        &[invite(0.0, 1, "b1"), response(0.1, 407, "INVITE", 1, "b1"), invite(40.0, 2, "b2")],
        41.0,
    );
    let results: Vec<_> = world.records.iter().map(|call| (call.result, call.end)).collect();
    assert_eq!(results, [(Some(CallResult::AbandonedAuth), Some(stamp(32.1))), (None, None)]);
    assert_eq!(world.records[1].state, CallState::Trying);
}

#[test]
fn only_180_to_183_end_the_post_dial_delay() {
    for (status, counts) in [(100, false), (199, false), (180, true), (181, true), (182, true), (183, true)] {
        let world = World::run(
            &[
                invite(0.0, 1, "b1"),
                response(0.5, status, "INVITE", 1, "b1"),
                response(2.0, 200, "INVITE", 1, "b1"),
            ],
            3.0,
        );
        let call = only(&world);
        assert_eq!(call.post_dial_delay.map(micros), counts.then_some(0.5), "{status}");
        assert_eq!(call.first_response.map(micros), Some(0.5));
    }
}

#[test]
fn sdp_in_a_183_is_early_media() {
    let early = response(0.5, 183, "INVITE", 1, "b1").with(|sip| sip.sdp = Some(audio(Direction::SendRecv)));
    let world = World::run(&[invite(0.0, 1, "b1"), early], 3.0);
    assert!(only(&world).early_media);
    assert_eq!(only(&world).state, CallState::Ringing);
    assert_eq!(world.calls.counters().early_media, 1);
}

#[test]
fn prack_and_update_leave_the_times_alone() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            response(1.0, 180, "INVITE", 1, "b1"),
            request(1.1, "U>P", "PRACK", 2, "b2"),
            response(1.2, 200, "PRACK", 2, "b2"),
            request(1.3, "U>P", "UPDATE", 3, "b3"),
            response(1.4, 200, "UPDATE", 3, "b3"),
            response(1.5, 180, "INVITE", 1, "b1"),
            response(4.0, 200, "INVITE", 1, "b1"),
        ],
        5.0,
    );
    let call = only(&world);
    assert_eq!((call.post_dial_delay, call.setup, call.retransmissions), (Some(1.0), Some(4.0), 1));
}

#[test]
fn cancel_gives_cancelled_and_no_failed_request_delay() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            request(3.0, "U>P", "CANCEL", 1, "b1").answered_by(""),
            response(3.1, 200, "CANCEL", 1, "b1"),
            response(3.2, 487, "INVITE", 1, "b1"),
        ],
        10.0,
    );
    let call = only(&world);
    assert_eq!((call.result, call.status), (Some(CallResult::Cancelled), Some(487)));
    assert_eq!((call.session_request_failed, call.setup), (None, None));
}

#[test]
fn an_answer_may_overtake_a_cancel() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            request(3.0, "U>P", "CANCEL", 1, "b1").answered_by(""),
            response(3.01, 200, "INVITE", 1, "b1"),
            response(3.02, 200, "CANCEL", 1, "b1"),
        ],
        10.0,
    );
    assert_eq!(only(&world).result, Some(CallResult::Answered));
    assert_eq!(only(&world).setup.map(micros), Some(3.01));
}

#[test]
fn ringing_without_end_is_no_final_after_240_s() {
    let ringing = [invite(0.0, 1, "b1"), response(1.0, 180, "INVITE", 1, "b1")];
    let world = World::run(&ringing, 241.1);
    assert_eq!((only(&world).result, only(&world).end), (Some(CallResult::NoFinal), Some(stamp(241.0))));
    assert_eq!(only(&World::run(&ringing, 240.9)).state, CallState::Ringing);
    // A server that refreshes its 180 every minute is still there (RFC 3261 13.3.1.1).
    let refreshed = after(
        ringing.to_vec(),
        (1..5).map(|minute| response(60.0 * f64::from(minute), 180, "INVITE", 1, "b1")),
    );
    assert_eq!(only(&World::run(&refreshed, 300.0)).state, CallState::Ringing);
}

#[test]
fn trying_alone_stops_the_timer_of_32_s() {
    let world =
        World::run(&[invite(0.0, 1, "b1"), response(0.1, 100, "INVITE", 1, "b1").answered_by("")], 100.0);
    assert_eq!((only(&world).result, only(&world).state), (None, CallState::Trying));
}

#[test]
fn a_refused_attempt_and_the_next_invite_are_two_attempts() {
    let world = World::run(
        &[
            invite(0.0, 1, "b1"),
            response(0.1, 503, "INVITE", 1, "b1"),
            invite(0.2, 2, "b2"),
            response(0.5, 200, "INVITE", 2, "b2"),
        ],
        10.0,
    );
    let results: Vec<_> = world.records.iter().map(|call| call.result).collect();
    assert_eq!(results, [Some(CallResult::Failed), Some(CallResult::Answered)]);
    assert_eq!(world.records[1].setup.map(micros), Some(0.3));
}

#[test]
fn retransmissions_of_a_refusal_are_part_of_the_record() {
    let refusals = [0.5, 1.0, 2.0].map(|at| response(at, 486, "INVITE", 1, "b1"));
    let world = World::run(&after(vec![invite(0.0, 1, "b1")], refusals), 10.0);
    assert_eq!((only(&world).retransmissions, only(&world).end), (2, Some(stamp(0.5))));
}

#[test]
fn failures_of_a_reinvite_spare_the_call_but_408_and_481_end_it() {
    for (status, reason) in [
        (488, None),
        (491, None),
        (500, None),
        (481, Some(EndReason::DoesNotExist)),
        (408, Some(EndReason::ReinviteTimeout)),
    ] {
        let reinvite = [request(10.0, "U>P", "INVITE", 2, "b2"), response(10.5, status, "INVITE", 2, "b2")];
        let world = World::run(&after(answered_call(), reinvite), 20.0);
        let call = only(&world);
        assert_eq!((call.end_reason, call.result), (reason, Some(CallResult::Answered)), "{status}");
        assert_eq!(call.duration.map(micros), reason.map(|_| 8.5));
        assert_eq!(world.calls.counters().glare, u64::from(status == 491));
    }
}

#[test]
fn a_reinvite_of_the_callee_may_end_the_call_too() {
    let world = World::run(
        &after(
            answered_call(),
            [
                request(10.0, "P>U", "INVITE", 1, "r1").tags("z", "a"),
                response(10.5, 481, "INVITE", 1, "r1").hop("U>P", 1).tags("z", "a"),
            ],
        ),
        20.0,
    );
    assert_eq!(only(&world).end_reason, Some(EndReason::DoesNotExist));
}

#[test]
fn a_lost_bye_answer_ends_the_call_at_the_bye() {
    let world = World::run(&after(answered_call(), [request(12.0, "U>P", "BYE", 2, "b2")]), 50.0);
    let call = only(&world);
    assert_eq!((call.end_reason, call.end), (Some(EndReason::Bye), Some(stamp(12.0))));
    assert_eq!((call.duration, call.disconnect), (Some(10.0), Some(32.0)));
    // Cut short, the call is over all the same; how long the BYE took is not known.
    let world = World::run(&after(answered_call(), [request(12.0, "U>P", "BYE", 2, "b2")]), 20.0);
    assert_eq!((only(&world).state, only(&world).end_reason), (CallState::Ended, Some(EndReason::Bye)));
    assert_eq!((only(&world).duration, only(&world).disconnect), (Some(10.0), None));
}

#[test]
fn a_bye_is_challenged_or_refused_and_the_call_ends_at_the_first_one() {
    let challenged = [
        request(12.0, "U>P", "BYE", 2, "b2"),
        response(12.1, 407, "BYE", 2, "b2"),
        request(12.2, "U>P", "BYE", 3, "b3"),
        response(12.5, 200, "BYE", 3, "b3"),
    ];
    let world = World::run(&after(answered_call(), challenged), 13.0);
    assert_eq!((only(&world).duration, only(&world).disconnect.map(micros)), (Some(10.0), Some(0.5)));
    let unknown = [request(12.0, "U>P", "BYE", 2, "b2"), response(12.1, 481, "BYE", 2, "b2")];
    let world = World::run(&after(answered_call(), unknown), 13.0);
    assert_eq!((only(&world).end_reason, only(&world).duration), (Some(EndReason::Bye), Some(10.0)));
}

#[test]
fn byes_of_both_sides_end_the_call_once() {
    let world = World::run(
        &after(
            answered_call(),
            [
                request(12.0, "U>P", "BYE", 2, "b2"),
                request(12.01, "P>U", "BYE", 1, "r1").tags("z", "a"),
                response(12.02, 200, "BYE", 1, "r1").hop("U>P", 1).tags("z", "a"),
                response(12.03, 200, "BYE", 2, "b2"),
            ],
        ),
        60.0,
    );
    assert_eq!((only(&world).duration, only(&world).end_reason), (Some(10.0), Some(EndReason::Bye)));
    let counters = world.calls.counters();
    assert_eq!((counters.orphans, counters.late_byes), (0, 0));
}

#[test]
fn a_bye_after_the_session_timer_is_late() {
    let answered = [
        invite(0.0, 1, "b1"),
        response(2.0, 200, "INVITE", 1, "b1").with(|sip| sip.session_expires = Some(90)),
    ];
    let world = World::run(&after(answered.to_vec(), bye(200.0, 2, "b2")), 300.0);
    let call = only(&world);
    assert_eq!((call.end_reason, call.duration), (Some(EndReason::SessionTimer), Some(0.0)));
    let counters = world.calls.counters();
    assert_eq!((counters.late_byes, counters.orphans), (1, 0));
}

#[test]
fn a_refresh_by_update_starts_the_session_timer_anew() {
    let with_timer = |sip: Sip| sip.with(|sip| sip.session_expires = Some(90));
    let messages = [
        invite(0.0, 1, "b1"),
        with_timer(response(2.0, 200, "INVITE", 1, "b1")),
        request(47.0, "U>P", "UPDATE", 2, "b2"),
        with_timer(response(47.1, 200, "UPDATE", 2, "b2")),
    ];
    assert_eq!(only(&World::run(&messages, 169.0)).state, CallState::Confirmed);
    assert_eq!(only(&World::run(&messages, 169.2)).end_reason, Some(EndReason::SessionTimer));
}

#[test]
fn silence_ends_a_call_after_60_s_or_on_hold_after_300_s() {
    let hold = [
        request(10.0, "U>P", "INVITE", 2, "b2").with(|sip| sip.sdp = Some(audio(Direction::SendOnly))),
        response(10.1, 200, "INVITE", 2, "b2").with(|sip| sip.sdp = Some(audio(Direction::RecvOnly))),
    ];
    for (messages, silence) in [(answered_call(), 60.0), (after(answered_call(), hold), 300.0)] {
        for (wait, reason) in [(-0.5, None), (0.5, Some(EndReason::RtpTimeout))] {
            let mut world = World::new();
            world.feed_all(&messages);
            let key = world.calls.live().next().unwrap().0;
            world.calls.media_active(key, stamp(20.0));
            world.expire(20.0 + silence + wait);
            let world = world.finish();
            let call = only(&world);
            assert_eq!(call.end_reason, reason);
            assert_eq!(call.duration.map(micros), reason.map(|_| 18.0), "up to the last packet");
        }
    }
}

#[test]
fn a_call_without_media_is_idle_after_4_h_and_any_call_too_old_after_24_h() {
    assert_eq!(only(&World::run(&answered_call(), 14_401.0)).end_reason, None);
    assert_eq!(only(&World::run(&answered_call(), 14_403.0)).end_reason, Some(EndReason::Idle));
    let mut world = World::new();
    world.feed_all(&answered_call());
    let key = world.calls.live().next().unwrap().0;
    for minute in 0..1450 {
        let now = 60.0 * f64::from(minute);
        world.calls.media_active(key, stamp(now));
        world.expire(now);
    }
    assert_eq!(only(&world).end_reason, Some(EndReason::MaxAge));
}

#[test]
fn several_dialogs_end_with_the_last_one() {
    let forked = vec![
        invite(0.0, 1, "b1"),
        response(1.0, 180, "INVITE", 1, "b1").answered_by("z1"),
        response(1.1, 180, "INVITE", 1, "b1").answered_by("z2"),
        response(2.0, 200, "INVITE", 1, "b1").answered_by("z1"),
        response(2.1, 200, "INVITE", 1, "b1").answered_by("z2"),
    ];
    let closed = bye(3.0, 2, "b2").map(|sip| sip.answered_by("z2"));
    let last = bye(10.0, 3, "b3").map(|sip| sip.answered_by("z1"));
    let world = World::run(&after(after(forked, closed), last), 20.0);
    let call = only(&world);
    assert_eq!((call.forked, call.duration, call.end_reason), (true, Some(8.0), Some(EndReason::Bye)));
    let counters = world.calls.counters();
    assert_eq!((counters.forked, counters.forked_answers, counters.extra_dialogs_closed), (1, 1, 1));
}

#[test]
fn what_began_before_the_capture_is_an_orphan() {
    let messages = [
        request(0.0, "U>P", "BYE", 7, "b7"),
        response(0.1, 200, "BYE", 7, "b7"),
        request(1.0, "U>P", "INVITE", 8, "b8").call_id("c2"),
        request(1.0, "U>P", "INVITE", 8, "b8").call_id("c2"),
        request(2.0, "U>P", "OPTIONS", 9, "b9").call_id("c3"),
    ];
    let world = World::run(&messages, 60.0);
    assert!(world.records.is_empty());
    assert_eq!(world.calls.counters().orphans, 2);
}

#[test]
fn what_cannot_be_keyed_is_counted_by_its_start_line_and_of_no_call() {
    let mut world = World::new();
    let sip = invite(0.0, 1, "b1");
    let spoil: [&dyn Fn(&mut Message<'_>); 3] = [&|m| m.call_id = b"", &|m| m.cseq = None, &|m| {
        m.cseq.as_mut().unwrap().method = crate::sip::Method::Bye;
    }];
    for spoil in spoil {
        let mut message = sip.message();
        spoil(&mut message);
        assert!(world.calls.message(&sip.arrival(), &message, None, &mut Vec::new()).is_none());
    }
    world.feed(&response(0.1, 99, "INVITE", 1, "b1"));
    world.feed(&response(0.1, 700, "INVITE", 1, "b1"));
    let counters = world.calls.counters();
    let invites: Vec<_> = counters.requests().map(|(method, tally)| (method, tally.total)).collect();
    assert_eq!((counters.malformed, invites, counters.responses().count()), (5, vec![("INVITE", 3)], 0));
    assert!(world.calls.live().next().is_none());
}

#[test]
fn branches_and_tags_of_rfc_2543_are_enough() {
    let bare = |sip: Sip| sip.tags("", "").with(|sip| sip.branch = String::new());
    let messages = [
        bare(invite(0.0, 1, "")),
        bare(invite(0.5, 1, "")),
        bare(response(1.0, 180, "INVITE", 1, "")),
        bare(response(2.0, 200, "INVITE", 1, "")),
        bare(request(2.1, "U>P", "ACK", 1, "")),
        bare(request(12.0, "P>U", "BYE", 1, "")),
        bare(response(12.1, 200, "BYE", 1, "").hop("U>P", 1)),
    ];
    let world = World::run(&messages, 60.0);
    let call = only(&world);
    assert_eq!((call.retransmissions, call.duration, call.end_reason), (1, Some(10.0), Some(EndReason::Bye)));
}

#[test]
fn responses_to_another_port_of_the_caller_belong_to_its_request() {
    let from_anywhere = |sip: Sip| sip.with(|sip| sip.from.port = 41_234);
    let mut messages = answered_call();
    messages[0] = from_anywhere(messages[0].clone());
    let world = World::run(
        &after(messages, bye(12.0, 2, "b2").map(|sip| if sip.request { from_anywhere(sip) } else { sip })),
        60.0,
    );
    assert_eq!((only(&world).setup, only(&world).duration, only(&world).hops), (Some(2.0), Some(10.0), 1));
}

#[test]
fn wire_and_hep_together_count_as_either_alone() {
    let call = after(
        answered_call(),
        [response(2.5, 200, "INVITE", 1, "b1"), request(2.6, "U>P", "ACK", 1, "b2")]
            .into_iter()
            .chain(bye(9.0, 2, "b3")),
    );
    let alone = World::run(&call, 60.0);
    for hep_first in [false, true] {
        let both: Vec<Sip> = call
            .iter()
            .flat_map(|sip| {
                let mut pair = [sip.clone(), sip.clone()];
                pair[usize::from(!hep_first)].way = Way::Hep;
                pair[1].at += 0.003;
                pair
            })
            .collect();
        let both = World::run(&both, 60.0);
        let tallies = |world: &World| {
            let counters = world.calls.counters();
            (counters.requests().collect::<Vec<_>>(), counters.responses().collect::<Vec<_>>())
        };
        assert_eq!(tallies(&both), tallies(&alone));
        assert_eq!(both.calls.counters().copies, call.len() as u64);
        assert_eq!((only(&both).retransmissions, only(&both).hops), (1, 1));
        assert_eq!((only(&both).setup, only(&both).duration), (only(&alone).setup, only(&alone).duration));
    }
}

#[test]
fn media_belong_to_the_side_that_described_them() {
    let mut world = World::new();
    let sides: Vec<_> = [
        invite(0.0, 1, "b1"),
        response(2.0, 200, "INVITE", 1, "b1"),
        request(5.0, "P>U", "INVITE", 1, "r1").tags("z", "a"),
        response(5.1, 200, "INVITE", 1, "r1").hop("U>P", 1).tags("z", "a"),
    ]
    .iter()
    .map(|sip| world.feed(sip).unwrap())
    .map(|routed| (routed.side, routed.hop, routed.retransmission))
    .collect();
    let expected = [Side::Caller, Side::Callee, Side::Callee, Side::Caller].map(|side| (side, 0, false));
    assert_eq!(sides, expected);
}

#[test]
fn what_is_live_can_be_looked_at() {
    let mut world = World::new();
    world.feed_all(&answered_call());
    let (key, live) = world.calls.live().next().unwrap();
    assert_eq!((live.call_id().as_str(), live.state()), ("c1", CallState::Confirmed));
    assert_eq!((live.from().as_str(), live.answered()), ("sip:alice@example.com", Some(stamp(2.0))));
    assert!(world.calls.take(key).is_none(), "not over yet");
    world.feed_all(&bye(9.0, 2, "b2"));
    assert!(world.calls.get(key).is_none());
    assert!(world.calls.get(CallKey { index: 9, generation: std::num::NonZeroU32::MIN }).is_none());
    assert_eq!(world.calls.live().count(), 0);
}

// Transfers.

fn refer(at: f64, cseq: u32, to: &str) -> Sip {
    request(at, "U>P", "REFER", cseq, "t1").with(|sip| sip.refer_to = to.into())
}

fn notify(at: f64, cseq: u32, body: &str) -> Sip {
    let branch = format!("n{cseq}");
    request(at, "P>U", "NOTIFY", cseq, &branch).tags("z", "a").with(|sip| sip.body = body.into())
}

#[test]
fn a_blind_transfer_has_the_outcome_of_its_last_sipfrag() {
    let transfer = [
        refer(10.0, 2, "sip:carol@example.com"),
        response(10.1, 202, "REFER", 2, "t1"),
        notify(10.2, 1, "SIP/2.0 100 Trying\r\n"),
    ];
    let rest = bye(10.3, 3, "b3").into_iter().chain([notify(15.0, 2, "SIP/2.0 200 OK\r\n")]);
    let world = World::run(&after(after(answered_call(), transfer), rest), 60.0);
    let [transfer] = world.transfers.as_slice() else { panic!("{:?}", world.transfers) };
    assert_eq!((transfer.call_id.as_str(), transfer.attended, transfer.status), ("c1", false, Some(200)));
}

#[test]
fn a_refused_or_silent_transfer_is_told_once() {
    let refused = [refer(10.0, 2, "sip:carol@example.com"), response(10.1, 403, "REFER", 2, "t1")];
    let world = World::run(&after(answered_call(), refused), 60.0);
    assert_eq!(world.transfers.iter().map(|t| t.status).collect::<Vec<_>>(), [Some(403)]);
    let silent = [refer(10.0, 2, "sip:carol@example.com"), response(10.1, 202, "REFER", 2, "t1")];
    let world = World::run(&after(answered_call(), silent), 300.0);
    assert_eq!(world.transfers.iter().map(|t| t.status).collect::<Vec<_>>(), [None]);
}

#[test]
fn an_attended_transfer_replaces_the_other_dialog() {
    let other = |sip: Sip| {
        let callee = if sip.to_tag.is_empty() { "" } else { "d" };
        sip.call_id("c2").tags("c", callee)
    };
    let mut messages: Vec<Sip> = answered_call();
    messages.extend([
        other(invite(3.0, 1, "o1").hop("U>Q", 1)),
        other(response(4.0, 200, "INVITE", 1, "o1").hop("Q>U", 1)),
        refer(10.0, 2, "<sip:carol@example.com?Replaces=c2%3Bto-tag%3Dd%3Bfrom-tag%3Dc>"),
        response(10.1, 202, "REFER", 2, "t1"),
        invite(10.2, 1, "x1").hop("P>Q", 1).call_id("c3").tags("e", "").with(|sip| {
            sip.replaces = "c2;to-tag=d;from-tag=c".into();
            sip.referred_by = "sip:alice@example.com".into();
        }),
        response(10.5, 200, "INVITE", 1, "x1").hop("Q>P", 1).call_id("c3").tags("e", "f"),
        notify(10.6, 1, "SIP/2.0 200 OK"),
        other(request(10.7, "Q>U", "BYE", 1, "o2")).tags("d", "c"),
        other(response(10.8, 200, "BYE", 1, "o2").hop("U>Q", 1)).tags("d", "c"),
    ]);
    messages.extend(bye(11.0, 3, "b3"));
    let world = World::run(&messages, 20.0);
    let call = |id: &str| world.records.iter().find(|call| call.call_id == id).unwrap();
    assert_eq!(
        (call("c2").end_reason, call("c2").duration.map(micros)),
        (Some(EndReason::Replaced), Some(6.7))
    );
    assert_eq!((call("c3").state, call("c3").transferred), (CallState::Confirmed, true));
    assert_eq!((call("c1").end_reason, call("c1").transferred), (Some(EndReason::Bye), false));
    assert_eq!(
        world.transfers.iter().map(|t| (t.attended, t.status)).collect::<Vec<_>>(),
        [(true, Some(200))]
    );
}

#[test]
fn a_replaced_dialog_whose_bye_is_lost_ends_when_it_was_replaced() {
    let mut messages = answered_call();
    messages.extend([
        invite(10.0, 1, "x1")
            .call_id("c3")
            .tags("e", "")
            .with(|sip| sip.replaces = "c1;to-tag=z;from-tag=a".into()),
        response(10.5, 200, "INVITE", 1, "x1").call_id("c3").tags("e", "f"),
    ]);
    let world = World::run(&messages, 50.0);
    let call = world.records.iter().find(|call| call.call_id == "c1").unwrap();
    assert_eq!((call.end_reason, call.duration), (Some(EndReason::Replaced), Some(8.5)));
}

// Registrations.

fn register(at: f64, cseq: u32, branch: &str) -> Sip {
    request(at, "U>P", "REGISTER", cseq, branch).answered_by("").with(|sip| {
        sip.contact = "sip:bob@192.0.2.1".into();
        sip.expires = Some(600);
    })
}

fn registered(at: f64, status: u16, cseq: u32, branch: &str) -> Sip {
    response(at, status, "REGISTER", cseq, branch)
}

#[test]
fn a_registration_binds_for_the_time_the_registrar_grants() {
    let mut world = World::new();
    world.feed_all(&[
        register(0.0, 1, "r1"),
        registered(0.1, 200, 1, "r1").with(|sip| sip.contact_expires = Some(120)),
    ]);
    let registration = &world.registrations[0];
    assert_eq!((registration.result, registration.expires), (Some(RegistrationResult::Success), Some(120)));
    assert_eq!(
        (registration.aor.as_str(), registration.delay.map(micros)),
        ("sip:bob@example.com", Some(0.1))
    );
    world.expire(120.0);
    assert_eq!(world.calls.tables().bindings, 1);
    assert!(world.expired.is_empty());
    world.expire(120.2);
    assert_eq!(world.calls.tables().bindings, 0);
    let [lost] = world.expired.as_slice() else { panic!("{:?}", world.expired) };
    assert_eq!(lost.aor, "sip:bob@example.com");
    assert!((lost.end.seconds_since(lost.accepted) - 120.0).abs() < 1e-9);
    world.expire(300.0);
    assert_eq!(world.expired.len(), 1, "once");
}

#[test]
fn who_renews_a_registration_or_has_another_contact_has_not_lost_it() {
    let granted = |sip: &mut Sip| sip.contact_expires = Some(120);
    let mut world = World::new();
    world.feed_all(&[
        register(0.0, 1, "r1"),
        registered(0.1, 200, 1, "r1").with(granted),
        register(100.0, 2, "r2"),
        registered(100.1, 200, 2, "r2").with(granted),
        register(200.0, 3, "r3").with(|sip| sip.contact = "sip:bob@192.0.2.9".into()),
        registered(200.1, 200, 3, "r3").with(granted),
    ]);
    world.expire(225.0);
    assert_eq!((world.calls.tables().bindings, world.expired.len()), (1, 0), "{:?}", world.expired);
    world.expire(321.0);
    assert_eq!((world.calls.tables().bindings, world.expired.len()), (0, 1));
    // What is taken back is told as an attempt.
    let leave = register(400.0, 5, "r5").with(|sip| sip.expires = Some(0));
    world.feed_all(&[
        register(390.0, 4, "r4"),
        registered(390.1, 200, 4, "r4").with(granted),
        leave,
        registered(400.1, 200, 5, "r5"),
    ]);
    world.expire(600.0);
    assert_eq!(world.expired.len(), 1);
}

#[test]
fn an_interval_too_brief_goes_on_with_the_same_attempt() {
    let world = World::run(
        &[
            register(0.0, 1, "r1"),
            registered(0.1, 423, 1, "r1"),
            register(0.2, 2, "r2"),
            registered(0.5, 200, 2, "r2"),
        ],
        60.0,
    );
    let [registration] = world.registrations.as_slice() else { panic!("{:?}", world.registrations) };
    assert_eq!(
        (registration.result, registration.delay.map(micros)),
        (Some(RegistrationResult::Success), Some(0.5))
    );
}

#[test]
fn unregistering_is_its_own_result_and_ends_the_binding() {
    for star in [false, true] {
        let leave = register(5.0, 2, "r2").with(|sip| {
            sip.contact_star = star;
            if star {
                sip.contact = String::new();
            }
            sip.expires = Some(0);
        });
        let messages =
            [register(0.0, 1, "r1"), registered(0.1, 200, 1, "r1"), leave, registered(5.1, 200, 2, "r2")];
        let world = World::run(&messages, 10.0);
        let results: Vec<_> = world.registrations.iter().map(|r| r.result).collect();
        assert_eq!(results, [Some(RegistrationResult::Success), Some(RegistrationResult::Unregister)]);
        assert_eq!(world.calls.tables().bindings, 0);
    }
}

#[test]
fn a_registration_ends_in_each_of_its_ways() {
    let ways: [(&[u16], RegistrationResult, Option<u16>); 5] = [
        (&[401], RegistrationResult::Abandoned, Some(401)),
        (&[401, 401], RegistrationResult::Failure, Some(401)),
        (&[503], RegistrationResult::Failure, Some(503)),
        (&[302], RegistrationResult::Redirect, Some(302)),
        (&[100], RegistrationResult::Timeout, None),
    ];
    for (statuses, result, status) in ways {
        let mut messages = Vec::new();
        for (round, &status) in (1..).zip(statuses) {
            let (at, branch) = (f64::from(round), format!("r{round}"));
            messages.extend([register(at, round, &branch), registered(at + 0.1, status, round, &branch)]);
        }
        let world = World::run(&messages, 60.0);
        let [registration] = world.registrations.as_slice() else { panic!("{:?}", world.registrations) };
        assert_eq!((registration.result, registration.status), (Some(result), status));
        assert_eq!(registration.delay, None);
    }
}

#[test]
fn a_registration_seen_on_two_hops_is_one_attempt_on_the_outer_one() {
    let outer = [register(0.001, 1, "r1"), registered(0.103, 200, 1, "r1")];
    let inner = [register(0.0, 1, "i1").hop("P>R", 2), registered(0.1, 200, 1, "i1").hop("R>P", 2)];
    for order in [[0, 1], [1, 0]] {
        let mut messages: Vec<Sip> = order.map(|hop| [&inner, &outer][hop][0].clone()).into();
        messages.extend([inner[1].clone(), outer[1].clone()]);
        let world = World::run(&messages, 10.0);
        let [registration] = world.registrations.as_slice() else { panic!("{:?}", world.registrations) };
        assert_eq!(registration.delay.map(micros), Some(0.102));
    }
}

#[test]
fn an_open_registration_ends_with_the_capture_without_result() {
    let world = World::run(&[register(0.0, 1, "r1")], 10.0);
    assert_eq!(world.registrations.iter().map(|r| r.result).collect::<Vec<_>>(), [None]);
}

#[test]
fn requests_inside_the_dialog_tell_the_delay_between_the_parties() {
    let mut world = World::new();
    let key = world.feed(&invite(0.0, 1, "b1")).unwrap().call;
    world.feed_all(&answered_call()[1..]);
    world.feed(&request(3.0, "U>P", "UPDATE", 2, "b2"));
    world.feed(&response(3.03, 200, "UPDATE", 2, "b2"));
    assert_eq!(world.calls.get(key).unwrap().one_way_delay(), None, "only the way to the callee is known");
    world.feed(&request(4.0, "P>U", "UPDATE", 1, "z1").tags("z", "a"));
    world.feed(&response(4.01, 200, "UPDATE", 1, "z1").hop("U>P", 1).tags("z", "a"));
    world.feed(&request(5.0, "U>P", "OPTIONS", 3, "b3"));
    world.feed(&response(5.5, 200, "OPTIONS", 3, "b3"));
    let delay = world.calls.get(key).unwrap().one_way_delay().unwrap();
    assert!((delay - 0.02).abs() < 1e-6, "{delay}");
}
