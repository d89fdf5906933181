"""Language: networks that read texts, words in their context, and tables of word vectors."""
