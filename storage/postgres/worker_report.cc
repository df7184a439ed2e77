#include "storage/postgres/worker_report.h"

#include <cmath>

#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace dt::postgres {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

void SetNumber(Struct& object, const char* name, double value) {
  (*object.mutable_fields())[name].set_number_value(value);
}

std::string TextOf(const google::protobuf::Message& message) {
  std::string text;
  // Of a value that is whole this cannot fail.
  (void)google::protobuf::util::MessageToJsonString(message, &text);
  return text;
}

// The member, or an empty value.
const Value& MemberOf(const Struct& object, const char* name) {
  const auto found = object.fields().find(name);
  return found == object.fields().end() ? Value::default_instance() : found->second;
}

}  // namespace

std::string ServedText(const std::vector<ServedWork>& served) {
  ListValue list;
  for (const ServedWork& work : served) {
    Struct& entry = *list.add_values()->mutable_struct_value();
    SetNumber(entry, "hub", work.hub);
    SetNumber(entry, "kind", work.kind);
    SetNumber(entry, "streams", work.streams);
    SetNumber(entry, "credits", static_cast<double>(work.credits));
    if (!work.lower_names.has_value()) continue;
    ListValue& names = *(*entry.mutable_fields())["names"].mutable_list_value();
    for (const std::string& name : *work.lower_names) names.add_values()->set_string_value(name);
    if (work.versions.empty()) continue;
    Struct& versions = *(*entry.mutable_fields())["versions"].mutable_struct_value();
    for (const auto& [name, accepted] : work.versions) {
      ListValue& list_of_name = *(*versions.mutable_fields())[name].mutable_list_value();
      for (const std::string& one : accepted) list_of_name.add_values()->set_string_value(one);
    }
  }
  return TextOf(list);
}

std::vector<ServedWork> ParseServed(const std::string& text) {
  ListValue list;
  std::vector<ServedWork> served;
  if (!google::protobuf::util::JsonStringToMessage(text, &list).ok()) return served;
  for (const Value& value : list.values()) {
    const Struct& entry = value.struct_value();
    ServedWork work;
    work.hub = static_cast<HubId>(MemberOf(entry, "hub").number_value());
    work.kind = static_cast<int>(MemberOf(entry, "kind").number_value());
    work.streams = static_cast<int>(MemberOf(entry, "streams").number_value());
    work.credits = static_cast<int64_t>(MemberOf(entry, "credits").number_value());
    if (const Value& names = MemberOf(entry, "names"); names.has_list_value()) {
      work.lower_names.emplace();
      for (const Value& name : names.list_value().values()) {
        work.lower_names->push_back(name.string_value());
      }
    }
    for (const auto& [name, accepted] : MemberOf(entry, "versions").struct_value().fields()) {
      for (const Value& one : accepted.list_value().values()) {
        work.versions[name].push_back(one.string_value());
      }
    }
    served.push_back(std::move(work));
  }
  return served;
}

std::string LoadText(const WorkerReport& report) {
  Struct object;
  SetNumber(object, "residents", static_cast<double>(report.residents));
  SetNumber(object, "in_flight", static_cast<double>(report.in_flight));
  SetNumber(object, "leases", static_cast<double>(report.leases));
  SetNumber(object, "per_second", std::round(report.finished_per_second * 10) / 10);
  return TextOf(object);
}

}  // namespace dt::postgres
