// The events of the log. A line that tools and people look for begins with one of these and a
// colon: "PurgedInstances (310): ...". Names and numbers are an interface (sql/RULES.md 1.3): they
// never change, and a number that is given up is not used again.
//
// deploy/LOG.md tells operators what each means and what to do; tests/lint checks that it has the
// same events at the same levels as the code, and that no line has another name or number.
#ifndef DT_STORAGE_LOG_EVENTS_H_
#define DT_STORAGE_LOG_EVENTS_H_

namespace dt::log_event {

inline constexpr char kAcquiredAppLock[] = "AcquiredAppLock (300)";
inline constexpr char kExecutedSqlScript[] = "ExecutedSqlScript (301)";
inline constexpr char kProcessingFailure[] = "ProcessingFailure (303)";
inline constexpr char kGenericWarning[] = "GenericWarning (304)";
inline constexpr char kDuplicateExecutionDetected[] = "DuplicateExecutionDetected (307)";
inline constexpr char kTransientDatabaseFailure[] = "TransientDatabaseFailure (308)";
inline constexpr char kPurgedInstances[] = "PurgedInstances (310)";
inline constexpr char kDiscardingEvent[] = "DiscardingEvent (313)";
inline constexpr char kGenericInfo[] = "GenericInfo (314)";
inline constexpr char kWorkNotAccepted[] = "WorkNotAccepted (315)";
inline constexpr char kManagementAction[] = "ManagementAction (316)";
inline constexpr char kProtocolError[] = "ProtocolError (317)";

}  // namespace dt::log_event

#endif  // DT_STORAGE_LOG_EVENTS_H_
