import Glibc
import Hosts

extension MpirunFacts {
  /// What the mpirun on PATH says; `user` is this process's.
  ///
  /// It is started for a moment, with a trial job of one rank that does nothing.
  package static func current(user: Int) -> MpirunFacts {
    let environment = text(ofFile: "/proc/self/environ").split(separator: "\0").map(String.init)
    var facts = MpirunFacts()
    let version = trial(of: ["mpirun", "--version"], environment: environment)
    facts.version = version?.output?.split(separator: "\n").first.map(String.init)
    guard facts.version?.contains("Open MPI") ?? false else { return facts }
    let asRoot = user == 0 ? ["--allow-run-as-root"] : []
    facts.refusesRoot =
      user == 0
      && !["OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"].allSatisfy(
        environment.contains)
    let allocation = trial(
      of: ["mpirun"] + asRoot + ["--display-allocation", "-n", "1", "true"],
      environment: environment)
    facts.slots = allocation?.output.map(slots(inAllocation:))
    facts.trialFailure = allocation?.failure
    return facts
  }

  /// The hosts and slots that `mpirun --display-allocation` prints.
  package static func slots(inAllocation text: String) -> [Slots] {
    // node1: flags=0x11 slots=2 max_slots=0 slots_inuse=0 state=UP
    text.split(separator: "\n").compactMap { line in
      let words = line.split { $0 == " " || $0 == "\t" }
      guard let host = words.first, host.hasSuffix(":"),
        let count = words.first(where: { $0.hasPrefix("slots=") })?.dropFirst(6)
      else { return nil }
      return Int(count).map { Slots(host: String(host.dropLast()), count: $0) }
    }
  }
}

/// How a command ended.
package struct Trial {
  /// What it has printed; nil where it has failed.
  package let output: String?
  /// How it has failed, in its own words as far as it has any.
  package let failure: String?

  /// - Parameters:
  ///   - status: as `waitpid` gives it.
  ///   - output: the text on standard output.
  ///   - errors: that on standard error.
  package init(status: CInt, output: String, errors: String) {
    self.output = status == 0 ? output : nil
    failure = status == 0 ? nil : Self.sentence(status: status, errors)
  }

  /// A failure is a signal's, of which the shell's convention is 128 and its number, or the
  /// command's.
  private static func sentence(status: CInt, _ errors: String) -> String {
    let code = status >> 8 & 0xFF
    let signal = status & 0x7F != 0 ? status & 0x7F : code > 128 ? code - 128 : 0
    let ending =
      signal != 0
      ? "it was killed by signal \(signal)"
      : code == 124 ? "it took longer than 10 s" : "it ended with code \(code)"
    let words = Self.words(in: errors)
    return words.isEmpty ? "\(ending)." : "\(ending), and said: \(words)"
  }

  /// The first message, without the frames of dashes that mpirun draws round its own.
  package static func words(in errors: String) -> String {
    var lines: [Substring] = []
    for line in errors.split(separator: "\n", omittingEmptySubsequences: false) {
      let isFrame = line.hasPrefix("-----") || line.contains("ORTE_ERROR_LOG")
      if isFrame, !lines.isEmpty { break }
      if !isFrame { lines.append(line) }
    }
    let words = lines.joined(separator: " ").split(separator: " ").joined(separator: " ")
    return words.count > 300 ? words.prefix(300) + "…" : words
  }
}

/// Runs a command to its end, ten seconds at most; nil where it cannot be started.
///
/// - Parameter environment: variables with values, in which PATH finds the command.
private func trial(of command: [String], environment: [String]) -> Trial? {
  var ends: [CInt] = [-1, -1]
  guard unsafe pipe(&ends) == 0 else { return nil }
  defer { close(ends[0]) }
  // Messages are few, and wait in their pipe until they are read.
  var errors: [CInt] = [-1, -1]
  guard unsafe pipe(&errors) == 0 else { return nil }
  defer { close(errors[0]) }
  var actions = unsafe posix_spawn_file_actions_t()
  unsafe posix_spawn_file_actions_init(&actions)
  defer { unsafe posix_spawn_file_actions_destroy(&actions) }
  unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
  unsafe posix_spawn_file_actions_adddup2(&actions, errors[1], STDERR_FILENO)
  unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
  for end in ends + errors { unsafe posix_spawn_file_actions_addclose(&actions, end) }

  var process: pid_t = 0
  let words = ["timeout", "--kill-after=1", "10"] + command
  let code = unsafe withCStrings(words) { arguments in
    unsafe withCStrings(environment) { variables in
      unsafe posix_spawnp(&process, words[0], &actions, nil, arguments, variables)
    }
  }
  close(ends[1])
  close(errors[1])
  guard code == 0 else { return nil }
  let text = text(ofFile: "/proc/self/fd/\(ends[0])")
  let complaints = Hosts.text(ofFile: "/proc/self/fd/\(errors[0])")
  var status: CInt = 0
  while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
  return Trial(status: status, output: text, errors: complaints)
}

/// Calls `body` with the texts as C has them, a null pointer at the end.
private func withCStrings<Result>(
  _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
  let pointers = unsafe texts.map { unsafe strdup($0) }
  defer { for index in unsafe pointers.indices { unsafe free(pointers[index]) } }
  return unsafe body(pointers + [nil])
}
