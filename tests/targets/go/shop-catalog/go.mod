module taskscope.test/shop-catalog

go 1.24
