package import Reporting

/// A field in which two environments differ.
package struct EnvironmentDifference: Encodable {
  package let name: String
  package let before: String
  package let after: String

  /// What may change a result, the machine's properties first.
  private static let names = [
    "processor", "cores", "memoryBytes", "instructionSet", "commit", "gyreVersion", "kernel",
    "openMPI", "openMPIParameters", "oversubscribed",
  ]

  /// All of them.
  package static func between(_ before: ResultsFile, _ after: ResultsFile)
    -> [EnvironmentDifference]
  {
    names.compactMap { name in
      let values = [before, after].map { $0.environmentValues(name) }
      guard Set(values[0]) != Set(values[1]) else { return nil }
      let texts = values.map { $0.map { text($0, of: name) }.joined(separator: " or ") }
      return EnvironmentDifference(name: name, before: texts[0], after: texts[1])
    }
  }

  /// A value of a field of the environment in a few characters.
  package static func text(_ value: JSONValue, of name: String) -> String {
    switch value {
    case .null: "unknown"
    case .bool(let isTrue): isTrue ? "yes" : "no"
    case .integer(let number):
      name == "memoryBytes" ? formatBytes(Double(number)) : grouped(number)
    case .unsigned, .number: value.word ?? ""
    case .string(let text): name == "commit" ? shortCommit(text) : text
    case .array(let values): values.map { Self.text($0, of: name) }.joined(separator: " ")
    case .object(let members):
      members.isEmpty
        ? "none"
        : members.sorted { $0.key < $1.key }.map { "\($0.key)=\(Self.text($0.value, of: name))" }
          .joined(separator: " ")
    }
  }
}

extension [EnvironmentDifference] {
  /// Whether it was another machine, or another share of it.
  package var concernMachine: Bool {
    contains { ["processor", "cores", "memoryBytes", "oversubscribed"].contains($0.name) }
  }
}
