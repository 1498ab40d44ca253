import ArgumentParser
import FoundationEssentials
import Glibc
import Reporting

/// The settings in a JSON file.
///
/// Its keys are names of options, for all commands that have them, and names of commands with an
/// object of the same kind for those alone.
struct SettingsFile {
  private let path: String
  private let name: String
  private var contents: [String: JSONValue]

  /// Reads a file and checks that each of its keys is an option or a command.
  ///
  /// - Parameter setting: what names the file.
  init(_ setting: Setting, catalog: OptionCatalog) throws {
    path = setting.value
    name = "settings file '\(path)'" + (setting.origin.map { " of \($0)" } ?? "")
    contents = [:]
    contents = try decode()
    try check(contents, of: catalog, at: [])
  }

  private func decode() throws -> [String: JSONValue] {
    let value: JSONValue
    do {
      let text = Array(try read())
      value = try JSONValue(parsing: text)
      if let key = JSONKeys.repeated(in: text) {
        throw ValidationError(
          "The \(name) has '\(key.path)' twice, the second time in line \(key.line); leave one of "
            + "them."
        )
      }
    } catch is DecodingError {
      // FoundationEssentials does not tell where.
      throw ValidationError("The \(name) is not JSON; 'python3 -m json.tool \(path)' says where.")
    }
    guard case .object(let contents) = value else {
      throw ValidationError(
        "The \(name) is \(value.kind); write an object of options, such as {\"threads\": 4}.")
    }
    return contents
  }

  /// What the file says of an option of the command that `commands` leads to; nil if it says
  /// nothing.
  ///
  /// The innermost object wins.
  func setting(_ option: CommandOption, of commands: [String]) throws -> Setting? {
    var object = contents
    var place: [String] = []
    var found: (value: JSONValue, place: [String])?
    func look() {
      switch object[option.name] {
      case nil, .object: break
      case .some(let value): found = (value, place + [option.name])
      }
    }
    look()
    for command in commands {
      guard case .object(let inner) = object[command] else { break }
      object = inner
      place.append(command)
      look()
    }
    guard let found else { return nil }
    let origin = "\(found.place.joined(separator: ".")) in \(path)"
    guard let setting = option.setting(found.value, origin: origin) else {
      throw wrongType(found.value, of: option, at: found.place)
    }
    return setting
  }

  /// Checks an object of a command: a value must suit one of the options of its name at least.
  private func check(
    _ object: [String: JSONValue], of command: OptionCatalog, at place: [String]
  ) throws {
    for (key, value) in object.sorted(by: { $0.key < $1.key }) {
      let options = command.settings.filter { $0.name == key }
      if case .object(let inner) = value,
        let subcommand = command.subcommands.first(where: { $0.name == key })
      {
        try check(inner, of: subcommand, at: place + [key])
      } else if options.isEmpty {
        throw unknown(key, in: command, at: place)
      } else if !options.contains(where: { $0.setting(value, origin: nil) != nil }) {
        throw wrongType(value, of: options[0], at: place + [key])
      }
    }
  }

  private func unknown(
    _ key: String, in command: OptionCatalog, at place: [String]
  ) -> ValidationError {
    let key = (name: key, path: (place + [key]).joined(separator: "."))
    if command.subcommands.contains(where: { $0.name == key.name }) {
      return ValidationError(
        "The \(name) gives '\(key.path)' a value, and it is a command; give an "
          + "object of its options.")
    }
    let owner = place.isEmpty ? "any command" : "gyre \(place.joined(separator: " "))"
    let known = command.settings.map(\.name) + command.subcommands.map(\.name)
    let remedy = nearName(to: key.name, among: known).map { "do you mean '\($0)'?" }
    return ValidationError(
      "The \(name) has '\(key.path)', which is no option of \(owner); "
        + (remedy ?? "take it out."))
  }

  private func wrongType(
    _ value: JSONValue, of option: CommandOption, at place: [String]
  ) -> ValidationError {
    ValidationError(
      "The \(name) gives '\(place.joined(separator: "."))' as \(value.kind), and "
        + "--\(option.name) is \(option.expectation).")
  }

  /// Nobody writes a longer one, but a name can be that of something endless.
  private static let largestSize = 1 << 20

  private func read() throws -> Data {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw unreadable(errno) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe piece.withUnsafeMutableBytes {
        unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
      }
      guard count >= 0 else { throw unreadable(errno) }
      guard count > 0 else { return Data(bytes) }
      bytes += piece[..<count]
      guard bytes.count <= Self.largestSize else {
        throw ValidationError("The \(name) has more than 1 MiB; name another.")
      }
    }
  }

  private func unreadable(_ number: Int32) -> ValidationError {
    let reason = unsafe String(cString: strerror(number))
    return ValidationError(
      "The \(name) cannot be read: \(reason); name one that rank 0 can read.")
  }
}
