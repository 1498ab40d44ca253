import Jobs
import MPI
import Models

/// How texts are drawn and said.
extension GenerateCommand {
  /// What was said in a turn.
  struct Turn {
    var tokens: [Int] = []
    var text = ""
    var ending = Ending.none
  }

  /// Says all samples after a prompt, together.
  func speakAll(
    _ generation: Generation, _ speaker: Speaker?, on world: borrowing Communicator
  ) throws -> [Turn] {
    let count = sampling.samples
    if count == 1 { return try speak([generation], speaker, on: world) }
    return try speak((0..<count).map { _ in generation.fork() }, speaker, on: world) {
      $0.release()
    }
  }

  /// Draws tokens of some sequences until all have ended, and prints them as they come.
  ///
  /// - Parameter leave: is given each that has ended.
  func speak(
    _ all: [Generation], _ speaker: Speaker?, on world: borrowing Communicator,
    leave: (Generation) -> Void = { _ in }
  ) throws -> [Turn] {
    var samplers = all.indices.map { Sampler(sampling.sampling(ofSample: $0)) }
    var output = speaker?.output(
      isQuiet: report == .json,
      titles: all.count == 1
        ? [""] : all.indices.map { "sample \($0 + 1), seed \(sampling.seed(ofSample: $0)):\n" })
    try world.agreed { try output?.begin() }
    var turns = all.map { _ in Turn() }
    var speaking = Array(all.indices)
    while true {
      // One rank draws, so that all have the same whatever rounding does.
      var drawn = speaking.map { sample in
        world.rank == 0
          ? samplers[sample].next(all[sample].logits, after: all[sample].tokens) : 0
      }
      try world.broadcast(&drawn, from: 0)
      var endings = try world.agreed {
        try zip(speaking, drawn).map { try output?.take($1, of: $0).rawValue ?? 0 }
      }
      try world.broadcast(&endings, from: 0)
      for (index, sample) in speaking.enumerated() {
        turns[sample].tokens.append(drawn[index])
        let ending = Ending(rawValue: endings[index]) ?? .none
        let isLast = turns[sample].tokens.count == maxTokens
        turns[sample].ending = ending == .none && isLast ? .length : ending
      }
      let ended = speaking.filter { turns[$0].ending != .none }
      if !ended.isEmpty {
        try world.agreed { for sample in ended { try output?.finish(sample) } }
      }
      for sample in ended {
        turns[sample].text = output?.text(of: sample) ?? ""
        leave(all[sample])
      }
      let going = zip(speaking, drawn).filter { turns[$0.0].ending == .none }
      if going.isEmpty { return turns }
      speaking = going.map(\.0)
      try Generation.extend(speaking.map { all[$0] }, by: going.map(\.1))
    }
  }
}
