"""A user's program with sru-data alone: build a vocabulary and batch sentences of similar length."""

from sru_data.loaders import LengthBatchSampler, pad_sequences
from sru_data.tokenizers import WordTokenizer

sentences = ["a good film", "good", "a film that is not so good", "not good"]
tokenizer = WordTokenizer.train(sentences)
encoded = [tokenizer.encode(sentence) for sentence in sentences]
assert [tokenizer.decode(ids) for ids in encoded] == sentences

sampler = LengthBatchSampler([len(ids) for ids in encoded], batch_size=2, shuffle=False)
seen = []
for indices in sampler:
    batch = pad_sequences([encoded[i] for i in indices], pad_id=tokenizer.pad_id)
    assert batch.ids.shape == (2, batch.lengths.max()), batch.ids.shape
    assert batch.mask.sum(dim=1).tolist() == (batch.ids.shape[1] - batch.lengths).tolist()
    seen += indices
assert sorted(seen) == [0, 1, 2, 3], seen
print(f"{len(tokenizer)} words, {len(sampler)} batches")
