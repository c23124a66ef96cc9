// Ranking of the search: pages for users come before records and the changelog.
var Scorer = {
  score: ([page, , , , score]) =>
    score - (/^(docs\/decisions\/|CHANGELOG$|CONTRIBUTING$)/.test(page) ? 100 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
