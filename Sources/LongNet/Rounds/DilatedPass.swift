/// What is done with the rows of dilated attention at both ends of their way: at *homes*, which
/// hold the tokens, and at *workers*, which compute tasks.
///
/// Rows lie in messages in the order of steps; within a step in an order that both ends know.
protocol DilatedPass: AnyObject {
  /// What goes from homes to workers.
  var outward: RowWidths { get }
  /// What comes back.
  var homeward: RowWidths { get }

  /// At a home: writes its rows of a step.
  func write(_ step: DilatedStep, to worker: MessageCursor)

  /// At a worker: computes a step.
  ///
  /// - Parameters:
  ///   - homes: for each rank, where its rows are to be read.
  ///   - results: for each rank, where what it is to get is to be written.
  func compute(
    _ step: DilatedStep, homes: [MessageCursor], results: [MessageCursor],
    poll: (_ scores: Int) -> Void)

  /// At a home: takes in what a worker has found out about its rows.
  func read(_ step: DilatedStep, from worker: MessageCursor)
}
