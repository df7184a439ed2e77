// FindUndone: what a rewind leaves of a history (RULES.md 5.30, 5.31), for the histories that the
// SDKs make. That real workers replay what is left is tested in tests/sdk.
//
// A history is written as turns between bars, each with what the turn was given and then what it
// did; n is the id, which results share with what they are of:
//   given: go begins it, Cn an activity completed, Fn failed, tn a timer fired, kn a child
//          completed, xn failed, e an event was raised, pause, resume; - nothing
//          an, jn an entity answered, natively and in JSON, ln a lock was granted
//   did:   Sn scheduled an activity, Tn a timer, Kn a child, En sent an event, An and Jn called an
//          entity, Ln asked for a lock, end; rewound; refused
//          is an end whose failure says that the replay did not fit
// Python and JavaScript count ids from 1, and Python uses the id of an activity or child again for
// a retry; Java, .NET and Go count from 0, and a retry has new ids.
#include "server/orchestration/undo.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/orchestration/event_bytes.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using orchestration::ChunkWriter;
using orchestration::Undone;

// The event of a word without a number.
HistoryEvent PlainStep(const std::string& word) {
  HistoryEvent event;
  event.set_eventid(-1);
  if (word == "go") event.mutable_executionstarted()->set_name("o");
  if (word == "e") event.mutable_eventraised()->set_name("e");
  if (word == "pause") event.mutable_executionsuspended();
  if (word == "resume") event.mutable_executionresumed();
  if (word == "rewound") event.mutable_executionrewound();
  if (word == "end" || word == "refused") {
    TaskFailureDetails& details = *event.mutable_executioncompleted()->mutable_failuredetails();
    details.set_errortype(word == "end" ? "ValueError" : "a.b.NonDeterministicException");
  }
  return event;
}

HistoryEvent StepOf(const std::string& word) {
  HistoryEvent event = PlainStep(word);
  if (event.eventType_case() != HistoryEvent::EVENTTYPE_NOT_SET) return event;
  int32_t id = 0;
  REQUIRE(absl::SimpleAtoi(word.substr(1), &id));
  switch (word[0]) {
    case 'C':
      event.mutable_taskcompleted()->set_taskscheduledid(id);
      return event;
    case 'F':
      event.mutable_taskfailed()->set_taskscheduledid(id);
      return event;
    case 't':
      event.mutable_timerfired()->set_timerid(id);
      return event;
    case 'k':
      event.mutable_suborchestrationinstancecompleted()->set_taskscheduledid(id);
      return event;
    case 'x':
      event.mutable_suborchestrationinstancefailed()->set_taskscheduledid(id);
      return event;
    case 'a':
      event.mutable_entityoperationfailed()->set_requestid(absl::StrCat("A", id));
      return event;
    case 'j':
      event.mutable_eventraised()->set_name(absl::StrCat("J", id));
      return event;
    case 'l':
      event.mutable_entitylockgranted()->set_criticalsectionid(absl::StrCat("L", id));
      return event;
    default:
      break;
  }
  event.set_eventid(id);
  if (word[0] == 'A') {
    event.mutable_entityoperationcalled()->set_requestid(word);
    event.mutable_entityoperationcalled()->mutable_targetinstanceid()->set_value("@e@k");
  }
  if (word[0] == 'J') {
    event.mutable_eventsent()->set_instanceid("@e@k");
    event.mutable_eventsent()->set_name("op");
    event.mutable_eventsent()->mutable_input()->set_value(
        absl::StrCat(R"({"op":"get","id":")", word, R"("})"));
  }
  if (word[0] == 'L') {
    event.mutable_entitylockrequested()->set_criticalsectionid(word);
    event.mutable_entitylockrequested()->add_lockset("@e@k");
  }
  if (word[0] == 'S') event.mutable_taskscheduled()->set_name("a");
  if (word[0] == 'T') event.mutable_timercreated();
  if (word[0] == 'E') event.mutable_eventsent()->set_name("e");
  if (word[0] == 'K') {
    event.mutable_suborchestrationinstancecreated()->set_instanceid(absl::StrCat("child-", id));
  }
  REQUIRE(event.eventType_case() != HistoryEvent::EVENTTYPE_NOT_SET);
  return event;
}

std::vector<std::string> TurnsOf(const std::string& written) {
  return absl::StrSplit(written, " | ");
}

std::vector<std::string> WordsOf(const std::string& turn) {
  if (turn == "-") return {};
  return absl::StrSplit(turn, ' ');
}

std::vector<HistoryChunk> Parse(const std::string& written) {
  std::vector<HistoryChunk> history;
  for (const std::string& turn : TurnsOf(written)) {
    ChunkWriter writer;
    HistoryEvent started;
    started.mutable_orchestratorstarted();
    writer.Append(started);
    for (const std::string& word : WordsOf(turn)) writer.Append(StepOf(word));
    history.push_back(writer.Take(static_cast<int64_t>(history.size()) + 1, 0));
  }
  return history;
}

Undone Find(const std::string& written) {
  const auto undone = orchestration::FindUndone(Parse(written));
  REQUIRE(undone.has_value());
  return *undone;
}

// What is left of the history, written in the same way; a turn of which nothing is left is "-".
std::string Left(const std::string& written) {
  const Undone undone = Find(written);
  std::string left;
  size_t place = 0;
  for (const std::string& turn : TurnsOf(written)) {
    std::string words;
    ++place;  // OrchestratorStarted, which always stays
    REQUIRE_FALSE(undone.events[place - 1]);
    for (const std::string& word : WordsOf(turn)) {
      if (!undone.events[place++]) absl::StrAppend(&words, words.empty() ? "" : " ", word);
    }
    absl::StrAppend(&left, left.empty() ? "" : " | ", words.empty() ? "-" : words);
  }
  REQUIRE(place == undone.events.size());
  return left;
}

TEST_CASE("rewind_failed_activity only what failed is undone") {
  CHECK(Left("go S1 S2 | C1 | F2 end") == "go S1 | C1 | -");
  CHECK(Left("go S0 S1 | F0 C1 end") == "go S1 | C1");
  CHECK(Left("go S0 | C0 S1 | F1 end") == "go S0 | C0 | -");
  // A fan-out of which several failed; .NET and Java wait for all, the others for the first.
  CHECK(Left("go S0 S1 S2 | F0 | C1 | F2 end") == "go S1 | - | C1 | -");
  CHECK(Left("go S1 S2 S3 | C2 | F1 F3 end") == "go S2 | C2 | -");
}

TEST_CASE("rewind_failed_child its failure is undone, and its creation stays") {
  CHECK(Left("go K1 S2 | C2 | x1 end") == "go K1 S2 | C2 | -");
  CHECK(Find("go K1 | x1 end").children.empty());
}

TEST_CASE("rewind_catch what the handler of the failure did goes with it") {
  CHECK(Left("go S0 | F0 S1 | C1 end") == "go | - | -");                 // an activity
  CHECK(Left("go S0 | F0 S1 | C1 S2 | C2 end") == "go | - | - | -");     // two of them
  CHECK(Left("go S0 | F0 T1 | t1 end") == "go | - | -");                 // a timer
  CHECK(Left("go S0 | F0 K1 | k1 end") == "go | - | -");                 // a child
  CHECK(Left("go S0 | F0 E1 end") == "go | -");                          // an event
  CHECK(Left("go S0 | F0 S1 | e C1 end") == "go | - | e");               // events raised stay
  CHECK(Left("go K0 | x0 S1 | C1 end") == "go K0 | - | -");              // of a child's failure
  CHECK(Left("go S1 | F1 S2 E3 T4 | C2 | t4 end") == "go | - | - | -");  // ids from 1
  // What came before stays.
  CHECK(Left("go S0 S1 | C0 S2 | C2 F1 S3 | C3 end") == "go S0 | C0 S2 | C2 | -");
  // The compensation fails as well, last: the step is found by it, and only it runs again.
  CHECK(Left("go S0 | F0 S1 | F1 end") == "go S0 | F0 | -");
}

TEST_CASE("rewind_entities what was asked in a handler goes with its answer") {
  CHECK(Left("go S0 | F0 A1 | a1 S2 | C2 end") == "go | - | - | -");
  CHECK(Left("go S0 | F0 J1 | j1 S2 | C2 end") == "go | - | - | -");
  CHECK(Left("go S0 | F0 L1 | l1 end") == "go | - | -");
  CHECK(Left("go S0 A1 | a1 S2 | F0 C2 end") == "go A1 | a1 S2 | C2");
  // What was answered before, and events that are called like nothing that was asked, stay.
  CHECK(Left("go A0 J1 | a0 | j1 S2 | j7 F2 end") == "go A0 J1 | a0 | j1 | j7");
}

TEST_CASE("rewind_fallback a failure that a fallback handled stays") {
  CHECK(Left("go S0 | F0 S1 | C1 S2 | F2 end") == "go S0 | F0 S1 | C1 | -");
  CHECK(Left("go S1 | F1 S2 | C2 S3 | F3 end") == "go S1 | F1 S2 | C2 | -");
  CHECK(Left("go K0 | x0 K1 | k1 S2 | F2 end") == "go K0 | x0 K1 | k1 | -");
  CHECK(Left("go S0 | F0 E1 S2 | C2 S3 | C3 S4 | F4 S5 | C5 end") ==
        "go S0 | F0 E1 S2 | C2 S3 | C3 | - | -");
}

TEST_CASE("rewind_retries of a retry policy only the last attempt is undone") {
  // Python: the id of the activity again; the timers have new ones.
  CHECK(Left("go S1 | F1 T2 | t2 S1 | F1 T3 | t3 S1 | F1 end") ==
        "go S1 | F1 T2 | t2 S1 | F1 T3 | t3 | -");
  CHECK(Left("go K1 | x1 T2 | t2 K1 | x1 end") == "go K1 | x1 T2 | t2 K1 | -");
  // Java, .NET and Go.
  CHECK(Left("go S0 | F0 T1 | t1 S2 | F2 T3 | t3 S4 | F4 end") ==
        "go S0 | F0 T1 | t1 S2 | F2 T3 | t3 | -");
  CHECK(Left("go K0 | x0 T1 | t1 K2 | x2 end") == "go K0 | x0 T1 | t1 K2 | -");
  // JavaScript counts from 1.
  CHECK(Left("go S1 | F1 T2 | t2 S3 | F3 end") == "go S1 | F1 T2 | t2 | -");
  // Two activities with policies at the same time.
  CHECK(Left("go S1 S2 | F1 T3 | F2 T4 | t3 S1 | t4 S2 | F1 | F2 end") ==
        "go S1 S2 | F1 T3 | F2 T4 | t3 | t4 | - | -");
  CHECK(Left("go S0 S1 | F0 T2 | F1 T3 | t2 S4 | t3 S5 | F4 | C5 end") ==
        "go S0 S1 | F0 T2 | F1 T3 | t2 | t3 S5 | - | C5");
}

TEST_CASE("rewind_python_ids of an id that succeeded in the end all events stay") {
  CHECK(Left("go S1 | F1 S1 S2 | C1 | F2 S2 | F2 end") == "go S1 | F1 S1 S2 | C1 | F2 | -");
  // The code itself threw long after; it was no failure that decided this.
  CHECK(Left("go S1 | F1 T2 | t2 S1 | C1 end") == "go S1 | F1 T2 | t2 S1 | C1");
  // A retry that went on beside what is undone keeps its number, and so what it has done.
  CHECK(Left("go S1 S2 | F1 T3 | F2 S4 | t3 S1 | C4 | C1 end") ==
        "go S1 | F1 T3 | - | t3 S1 | - | C1");
  // One that is a part of what is undone goes with it.
  CHECK(Left("go S1 S2 | F1 T3 | F2 S4 | C4 t3 S1 | F1 T5 | t5 S1 | C1 S6 | C6 end") ==
        "go S1 | F1 T3 | - | t3 | - | - | - | -");
}

TEST_CASE("rewind_branches what branches did that did not fail stays") {
  // One of two failed early, the other went on: .NET and Java.
  CHECK(Left("go S0 S1 | F0 | C1 S2 | C2 S3 | C3 end") == "go S1 | - | C1 S2 | C2 S3 | C3");
  CHECK(Left("go K0 S1 | x0 | C1 S2 | C2 end") == "go K0 S1 | - | C1 S2 | C2");
  // The one that failed compensated. The other's later actions had numbers after that, which they
  // will not get again: they run again, and what they are a reaction to stays.
  CHECK(Left("go S0 S1 | F0 S2 | C1 S3 | C2 | C3 S4 | C4 end") == "go S1 | - | C1 | - | - | -");
  // The same turn was given the failure and a result: which of them S2 follows nobody can tell.
  CHECK(Left("go S0 S1 | F0 C1 S2 | C2 end") == "go S1 | C1 | -");
  // Before the last failure it counts as handled (5.31). A second rewind undoes it.
  CHECK(Left("go S0 S1 | F0 C1 S2 | F2 end") == "go S0 S1 | F0 C1 | -");
  CHECK(Left("go S0 S1 | F0 C1 | rewound | S2 | C2 end") == "go S1 | C1 | rewound | S2 | C2");
}

TEST_CASE("rewind_after_code_fix what the code scheduled before it threw is undone") {
  CHECK(Left("go S0 | C0 S1 T2 end") == "go S0 | C0");
  CHECK(Left("go S1 end") == "go");
  CHECK(Left("go end") == "go");
  // Others have been told: children and events of that turn stay.
  CHECK(Left("go S0 | C0 E1 K2 S3 end") == "go S0 | C0 E1 K2");
  // Nothing failed, so nothing else is undone.
  CHECK(Left("go S0 | e S1 | C0 C1 end") == "go S0 | e S1 | C0 C1");
}

TEST_CASE("rewind_twice what an earlier rewind left is rewound like any other history") {
  CHECK(Left("go S1 | C1 | - | rewound | S2 | F2 end") == "go S1 | C1 | - | rewound | - | -");
  CHECK(Left("go S1 | C1 | - | rewound | S0 | C0 S2 | F2 S3 | C3 end") ==
        "go S1 | C1 | - | rewound | S0 | C0 | - | -");
}

TEST_CASE("rewind_suspended the code is given what arrived meanwhile when it is resumed") {
  // F0 was handled by S1, in the turn of the resume.
  CHECK(Left("go S0 | pause | F0 | resume S1 | C1 S2 | F2 end") ==
        "go S0 | pause | F0 | resume S1 | C1 | -");
  CHECK(Left("go S0 | pause F0 | resume S1 | C1 end") == "go | pause | resume | -");
  CHECK(Left("go S0 | F0 S1 | pause C1 | e | resume S2 | C2 end") ==
        "go | - | pause | e | resume | -");
}

TEST_CASE("rewind_refused_replay a rewind of what did not fit undoes the last actions") {
  // All of a fan-out was waited for and then compensated, which no history tells from a branch that
  // went on: the first rewind leaves S2.
  CHECK(Left("go S0 S1 | F0 | C1 S2 | C2 end") == "go S1 | - | C1 S2 | C2");
  CHECK(Left("go S1 | - | C1 S2 | C2 | rewound | refused") == "go S1 | - | C1 | - | rewound | -");
  CHECK(Left("go S1 | C1 S2 | C2 S3 | C3 | rewound | C4 refused") ==
        "go S1 | C1 S2 | C2 | - | rewound | C4");
  // Python sends on what it did before it met what does not fit: S1 was undone by the first rewind.
  CHECK(Left("go S2 | - | C2 S3 | C3 | rewound | S1 S4 refused") ==
        "go S2 | - | C2 | - | rewound | S1");
  // Code that was changed and then mended decided this, no action of it.
  CHECK(Left("go S1 | C1 refused") == "go S1 | C1");
  CHECK(Left("go S1 | C1 | rewound | S2 | C2 refused") == "go S1 | C1 | rewound | S2 | C2");
}

TEST_CASE("rewind_in_flight what is undone and has not ended is named") {
  const Undone undone = Find("go S0 S1 | F0 S2 S3 K4 K5 | C2 k4 end");
  CHECK(undone.unanswered_tasks == std::vector<int32_t>{3});
  REQUIRE(undone.children.size() == 2);
  CHECK(undone.children[0].task_id == 4);
  CHECK(undone.children[0].instance_id == "child-4");
  CHECK(undone.children[1].task_id == 5);
}

TEST_CASE("rewind_leftovers a result that nobody awaits decides nothing") {
  CHECK(Left("go S1 | F1 C1 | F7 end") == "go S1 | F1 C1 | F7");
}

TEST_CASE("rewind_one_chunk turns are found in a chunk that a worker made of many") {
  std::string events;
  int32_t count = 0;
  for (const HistoryChunk& chunk : Parse("go S0 | F0 S1 | C1 S2 | F2 end")) {
    events += *chunk.events;
    count += chunk.event_count;
  }
  const HistoryChunk joined{1, 0, count, std::make_shared<const std::string>(events)};
  const auto undone = orchestration::FindUndone({joined});
  REQUIRE(undone.has_value());
  CHECK(undone->events == Find("go S0 | F0 S1 | C1 S2 | F2 end").events);
}

}  // namespace
}  // namespace dt::testing
