import ArgumentParser
import Jobs
import Models
import MPI
import Reporting

/// `--window-files` and `--structured`.
struct WindowFileOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Texts that are read before, joined by commas: each by itself, as if it were the only one; \
      the rest sees all of them (parallel context windows). Together they may be longer than the \
      model was trained for.
      """, valueName: "file,…"),
    completion: .file(), transform: { $0.split(separator: ",").map(String.init) })
  var windowFiles: [String] = []

  @Flag(
    help: """
      Windows end together, and the rest's own keys weigh as much as a key in each window \
      (structured prompting).
      """)
  var structured = false

  func validate() throws {
    if structured, windowFiles.isEmpty {
      throw ValidationError(
        "--structured is of context windows; give --window-files with it, or leave it out.")
    }
  }

  /// Names what is read.
  func read(in files: inout RunFiles) throws {
    for file in windowFiles { try files.read(file, as: "--window-files") }
  }

  /// The tokens of all windows and how many each has, called by all ranks together; nil without.
  func windows(
    _ open: OpenModel, _ model: ModelOptions, on world: borrowing Communicator
  ) throws -> (tokens: [Int], lengths: [Int])? {
    if windowFiles.isEmpty { return nil }
    try check(open, model, on: world)
    var (tokens, lengths): ([Int], [Int]) = ([], [])
    for file in windowFiles {
      let part = try ModelText(open.file).tokens(
        vocabulary: open.decoder.sizes.vocabulary, on: world
      ) { tokenizer in
        tokenizer.encode(
          try ModelText.bytes(of: file, option: "--window-files"),
          addingBeginning: tokenizer.addsBeginning)
      }
      guard !part.isEmpty else {
        throw AgreedFailure(
          message: world.rank == 0
            ? "gyre: '\(file)' is empty; give a window some text, or leave it out." : nil,
          code: usageExitCode)
      }
      tokens += part
      lengths.append(part.count)
    }
    return (tokens, lengths)
  }

  /// Refuses what would say otherwise what a token sees.
  private func check(
    _ open: OpenModel, _ model: ModelOptions, on world: borrowing Communicator
  ) throws {
    let problem: String? =
      if model.window != nil {
        "--window and --window-files both say what a token sees; leave one of them out."
      } else if open.decoder.layers.contains(where: { $0.window != nil }) {
        "the model has windows of its own, which context windows do not go with; leave "
          + "--window-files out, or use a model without."
      } else {
        nil
      }
    guard let problem else { return }
    throw AgreedFailure(
      message: world.rank == 0 ? "gyre: \(problem)" : nil, code: usageExitCode)
  }
}
