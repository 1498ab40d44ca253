import ArgumentParser
import Attention
import Reporting
import Settings

/// Far beyond any model.
let mostHeads = 1 << 16

/// Refuses numbers of heads that cannot be, or whose sizes no integer holds.
func requireHeads(_ heads: Int, _ kvHeads: Int?) throws {
  guard (1...mostHeads).contains(heads) else {
    throw ValidationError("--heads is \(heads); give a number from 1 to \(grouped(mostHeads)).")
  }
  guard let kvHeads else { return }
  guard kvHeads >= 1, heads % kvHeads == 0 else {
    throw ValidationError("--heads must be a multiple of --kv-heads, both at least 1.")
  }
}

/// Parses `64,128`.
func parseIntegers(_ text: String, in range: ClosedRange<Int>) throws -> [Int] {
  let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
  guard numbers.allSatisfy({ $0.map(range.contains) ?? false }) else {
    throw ValidationError(
      "give whole numbers from \(range.lowerBound) to \(range.upperBound), joined by commas.")
  }
  return numbers.compactMap { $0 }
}

/// Parses `f32,bf16`.
func parseNames<Name: RawRepresentable & CaseIterable>(
  _ text: String, of type: Name.Type
) throws -> [Name] where Name.RawValue == String {
  try text.split(separator: ",", omittingEmptySubsequences: false).map {
    guard let name = Name(rawValue: String($0)) else {
      throw unknownName(String($0), among: Name.allCases.map(\.rawValue))
    }
    return name
  }
}

/// The error that a list of names has one that is not known.
func unknownName(_ name: String, among known: [String]) -> ValidationError {
  let near = likelyName(for: name.lowercased(), among: known).map { "; do you mean '\($0)'?" }
  return ValidationError(
    "give names of \(known.joined(separator: ", ")), joined by commas\(near ?? ".")")
}

/// What a module finds wrong with the value of an option, as the parser takes it in `validate()`.
func asOption<Value>(_ body: () throws -> Value) throws -> Value {
  do { return try body() } catch let error as UserError {
    throw ValidationError(error.description)
  }
}
